// Keys of a live conversation: the space bar is held to talk, Escape silences.

const ELSEWHERE = "input, textarea, select, summary, a, [contenteditable], button:not(.lec-talk), dialog";

// pushes(): whether one holds a button to talk; down(): whether it is held; talk(down); playing(); stop().
export function listenToKeys({ pushes, down, talk, playing, stop }) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && playing()) stop();
    if (event.code !== "Space" || !pushes() || event.target.closest?.(ELSEWHERE)) return;
    event.preventDefault(); // neither scroll nor click
    if (!event.repeat) talk(true);
  });
  document.addEventListener("keyup", (event) => {
    if (event.code !== "Space" || !down()) return;
    event.preventDefault();
    talk(false);
  });
  window.addEventListener("blur", () => { if (down()) talk(false); });
}
