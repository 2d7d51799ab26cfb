// The WebSocket of a live conversation (docs/live.md): in order, resumed after a loss, never faster than the network.

import { Problem } from "./client.js";
import { state } from "./state.js";

const PROTOCOL = 1;
const RING_S = 10; // of captured sound that is kept for a resumed session
const RATE = 16000;
const FULL = 64 * 1024; // bytes unsent: the network is too slow
const DELAYS_MS = [250, 500, 1000, 2000];
const FIRST_TRIES = 4; // a server that was never reached
const QUIET_MS = 5000;
const LATE_MS = 15000; // a command that old is not given again

const ENDINGS = {
  1008: ["The server did not understand this page.", "Reload the page."],
  1009: ["The server did not understand this page.", "Reload the page."],
  4400: ["The server and this page are of different versions.", "Reload the page."],
  4401: ["Your login has ended.", "Sign in again."],
  4403: ["You may not use this workspace.", "Sign in, or choose another workspace."],
  4404: ["This workspace is not there any more.", "Choose another workspace."],
  4409: ["This conversation goes on in another window.", "Close the other one, or start again here."],
  4429: ["Too many people are talking with Lectern just now.", "Try again in a minute; typing works meanwhile."],
};

export class Connection {
  // hello(): its changing fields; onWelcome(welcome), onEvent(event), onSound(buffer), onStatus("connecting" | "open" |
  // "reconnecting"), onClosed(problem or null).
  constructor(listeners) {
    Object.assign(this, listeners);
    this.session = "";
    this.lastEvent = 0;
    this.captured = 0; // samples so far: the position of the next one
    this.next = 0; // the first sample that has not been sent
    this.ring = []; // {start, frame}
    this.outbox = []; // {sample, message, sent (on which connection), wait, at}: in order between the frames
    this.tries = 0;
    this.connections = 0;
    this.welcomed = false;
    this.ever = false;
    this.ended = false;
    this.checking = setInterval(() => this.check(), 1000);
    this.wake = () => this.check(true);
    window.addEventListener("online", this.wake);
    window.addEventListener("offline", this.wake);
  }

  open() {
    this.onStatus(this.ever ? "reconnecting" : "connecting");
    const base = location.origin.replace(/^http/, "ws");
    const socket = new WebSocket(`${base}/api/workspaces/${encodeURIComponent(state.workspace)}/live`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.welcomed = false;
    this.seen = performance.now();
    this.pinged = false;
    socket.onopen = () => {
      const resume = this.session ? { session: this.session, last_event: this.lastEvent } : {};
      socket.send(JSON.stringify({ type: "hello", protocol: PROTOCOL, ...this.hello(Boolean(this.session)), ...resume }));
    };
    socket.onmessage = ({ data }) => {
      this.seen = performance.now();
      this.pinged = false;
      if (typeof data !== "string") this.onSound(data);
      else this.receive(JSON.parse(data));
    };
    socket.onclose = ({ code }) => this.lost(code);
  }

  receive(event) {
    if (event.type === "welcome") {
      this.greet(event);
      return;
    }
    if (event.type === "pong") {
      if (event.id === this.replayed) this.sendAgain();
      return;
    }
    if (event.n !== undefined) {
      if (event.n <= this.lastEvent && event.type !== "state") return; // had before the connection broke
      this.lastEvent = Math.max(this.lastEvent, event.n);
    }
    if (event.type === "transcript" && (event.typed || event.corrects)) this.settled(event);
    this.onEvent(event);
  }

  greet(welcome) {
    this.tries = 0;
    this.connections += 1;
    const again = this.ever;
    this.ever = this.welcomed = true;
    const resumed = welcome.resumed && welcome.session === this.session;
    if (!resumed) {
      this.lastEvent = 0;
      this.ring = again ? this.ring.filter(({ start }) => start >= this.next) : []; // what was never sent belongs to the new one
      const first = this.ring[0]?.start ?? this.captured;
      for (const each of this.ring) each.start -= first;
      for (const each of this.outbox) {
        each.sample = Math.max(0, each.sample - first);
        if (each.message.type === "correct") each.message = { type: "ask", text: each.message.text }; // its turn is unknown there
      }
      this.captured -= first;
      this.next = 0;
    } else {
      if (!again) this.captured = welcome.next_sample; // after a reload
      this.next = Math.min(welcome.next_sample, this.captured);
      // TCP keeps order: what was said before a sample that has arrived has arrived too.
      const recent = performance.now() - LATE_MS;
      this.outbox = this.outbox.filter(({ sample, sent, wait, at }) => !sent || wait || (sample >= this.next && at > recent));
    }
    this.session = welcome.session;
    for (const each of this.outbox) if (!each.wait) each.sent = 0;
    this.replayed = Math.floor(Math.random() * 1e9);
    this.onWelcome(welcome, { resumed, again });
    this.onStatus("open");
    this.write({ type: "ping", id: this.replayed }); // its answer comes behind the events that were missed
    this.pump();
  }

  // ---- sending ------------------------------------------------------------------------------------------------

  // A captured frame; returns the position of its first sample.
  frame(frame) {
    const start = this.captured;
    this.captured += frame.length;
    this.ring.push({ start, frame });
    while (this.captured - this.ring[0].start > RING_S * RATE) this.ring.shift();
    this.pump();
    return start;
  }

  // A message that keeps its place between the frames and is not lost with a connection.
  say(message) {
    const wait = message.type === "ask" || message.type === "correct"; // for its transcript
    this.outbox.push({ sample: this.captured, message, sent: 0, wait, at: performance.now() });
    this.pump();
  }

  // A message that means nothing later on.
  tell(message) {
    if (this.welcomed) this.write(message);
  }

  pump() {
    const { socket } = this;
    if (!this.welcomed || socket.readyState !== WebSocket.OPEN) return;
    const oldest = this.ring[0]?.start ?? this.captured;
    if (this.next < oldest) {
      this.write({ type: "gap", samples: oldest - this.next });
      this.next = oldest;
    }
    for (const { start, frame } of this.ring) {
      if (start + frame.length <= this.next) continue;
      this.pass(start);
      if (socket.bufferedAmount > FULL) return;
      socket.send(frame.subarray(Math.max(0, this.next - start)));
      this.next = start + frame.length;
    }
    this.pass(this.captured);
  }

  // Sends the messages that were said before `sample`.
  pass(sample) {
    for (const each of this.outbox) {
      if (each.sent || each.sample > sample) continue;
      each.sent = this.connections;
      this.write(each.message);
    }
    this.outbox = this.outbox.filter(({ sample: place, sent, wait }) => !sent || wait || place > this.captured - RING_S * RATE);
  }

  // Questions whose transcript did not come although everything missed has been sent: the server never had them.
  sendAgain() {
    for (const each of this.outbox) {
      if (!each.wait || !each.sent || each.sent === this.connections) continue;
      each.sent = this.connections;
      this.write(each.message);
    }
  }

  settled({ corrects }) {
    const index = this.outbox.findIndex(({ message: { type, turn } }) => (corrects ? type === "correct" && turn === corrects : type === "ask"));
    if (index >= 0) this.outbox.splice(index, 1);
  }

  write(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  // ---- losing and ending --------------------------------------------------------------------------------------

  check(suspicious = false) {
    if (this.ended || !this.socket || this.socket.readyState > WebSocket.OPEN) return;
    const quiet = performance.now() - this.seen;
    if (quiet > 2 * QUIET_MS) this.lost(1006);
    else if ((quiet > QUIET_MS || suspicious) && this.welcomed && !this.pinged) {
      this.pinged = true;
      this.write({ type: "ping", id: 0 });
    }
  }

  drop() {
    const { socket } = this;
    this.socket = null;
    this.welcomed = false;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  lost(code) {
    this.drop();
    if (this.ended) return;
    this.tries += 1;
    if (code === 1000 || ENDINGS[code]) {
      this.end();
      this.onClosed(ENDINGS[code] ? new Problem(...ENDINGS[code]) : null, code);
    } else if (!this.ever && this.tries >= FIRST_TRIES) {
      this.end();
      this.onClosed(new Problem("The live conversation could not be started.", "See that Lectern is still running, then try again; typing works either way."), code);
    } else {
      this.onStatus(this.ever ? "reconnecting" : "connecting");
      this.retry = setTimeout(() => this.open(), DELAYS_MS[Math.min(this.tries, DELAYS_MS.length) - 1]);
    }
  }

  // Leaves; `bye`: the session is over, otherwise it can still be resumed.
  end({ bye = false } = {}) {
    if (bye) this.write({ type: "bye" });
    this.ended = true;
    clearTimeout(this.retry);
    clearInterval(this.checking);
    window.removeEventListener("online", this.wake);
    window.removeEventListener("offline", this.wake);
    this.drop();
  }
}
