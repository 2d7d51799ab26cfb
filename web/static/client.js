// Talking to the server this page came from, and to nobody else. Failures become {message, remedy}.

import { state } from "./state.js";

export class Problem extends Error {
  constructor(message, remedy = "", status = 0) {
    super(message);
    this.remedy = remedy;
    this.status = status; // of the server's answer, 0 if there was none
  }
}

const UNREACHABLE = new Problem("Lectern does not answer.", "See that it is still running in its terminal, then try again.");

export const url = (path, query = {}) => {
  const known = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  const search = new URLSearchParams(known).toString();
  return `/api/workspaces/${encodeURIComponent(state.workspace)}${path}${search ? `?${search}` : ""}`;
};

async function problemFrom(response) {
  try {
    const { error } = await response.json();
    return new Problem(error.message, error.remedy, response.status);
  } catch {
    return new Problem("Lectern could not do this.", `The server answered with status ${response.status}.`, response.status);
  }
}

async function request(address, options = {}) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw UNREACHABLE;
  }
  if (response.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`); // the login has ended
  if (!response.ok) throw await problemFrom(response);
  return response;
}

export const getJson = async (address, options) => (await request(address, options)).json();
export const send = (method, address, body, options = {}) => request(address, { method, body, ...options });
export const postJson = (address, value, options = {}) =>
  send("POST", address, JSON.stringify(value), { headers: { "Content-Type": "application/json" }, ...options });

// What is in a Blob, as JSON can carry it.
export const base64 = (blob) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
  reader.onerror = () => reject(new Problem("The recording could not be read.", "Record it again."));
  reader.readAsDataURL(blob);
});

// One JSON object per line, as it arrives.
export async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    while (true) {
      const { value, done } = await reader.read();
      if (done) break;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      for (const part of parts) if (part) yield JSON.parse(part);
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The connection to Lectern broke off.", "See that it is still running, then ask again.");
  }
  if (rest) yield JSON.parse(rest);
}

// fetch cannot report how much of a body has been sent; XMLHttpRequest can.
export function upload(file, onProgress) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open("PUT", url("/documents", { name: file.name }));
    call.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    call.onerror = () => reject(UNREACHABLE);
    call.onload = () => {
      let reply = null;
      try { reply = JSON.parse(call.responseText); } catch { /* not ours: reported below */ }
      if (call.status < 300) resolve(reply);
      else reject(reply?.error ? new Problem(reply.error.message, reply.error.remedy)
        : new Problem(`${file.name} could not be uploaded.`, `The server answered with status ${call.status}.`));
    };
    call.send(file);
  });
}
