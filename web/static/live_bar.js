// The bar of a live conversation: what is going on, and the few things one can do about it.

import { h, icon, notice } from "./dom.js";

const HOLD = matchMedia("(hover: none)").matches ? "Hold the button, and speak." : "Hold the button or the space bar, and speak.";
const WORDS = { // state -> what it says, and what to do, in hands-free mode and with the button
  asking: ["Waiting for the microphone", "Allow it in the question of your browser.", "Allow it in the question of your browser."],
  connecting: ["Connecting", "", ""],
  listening: ["Listening", "Just speak.", HOLD],
  hearing: ["Hearing you", "Pause, and it is my turn.", "Let go when you have finished."],
  thinking: ["Thinking", "", ""],
  speaking: ["Speaking", "Speak to interrupt.", "Hold the button to interrupt."],
  held: ["Waiting for you", "Go on, I am listening.", "Go on, I am listening."],
  paused: ["Paused", "Nothing is heard. Press Go on to speak.", "Nothing is heard. Press Go on to speak."],
  blocked: ["Ready to go on", "This browser waits for a click before sound.", "This browser waits for a click before sound."],
  reconnecting: ["Connection lost, reconnecting", "What you say now is kept for ten seconds.", "What you say now is kept for ten seconds."],
};

const COMMANDS = [["repeat", "Repeat that"], ["slower", "Slower"], ["faster", "Faster"], ["louder", "Louder"], ["quieter", "Quieter"],
  ["go_on", "Go on"], ["open_page", "Open the page"], ["where", "Where is that?"]];

export class Bar {
  // on: {mode(name), pause(), resume(), stop(), talk(down), command(name)}
  constructor(on) {
    this.on = on;
    this.state = "off";
    this.mode = "hands_free";
    this.remark = "";
    this.paused = false;
    this.orb = h("span", { class: "lec-orb", "aria-hidden": "true" }, h("span", {}));
    this.title = h("p", { class: "lec-live-state", role: "status" });
    this.hint = h("p", { class: "lec-hint" });
    this.remarked = h("p", { class: "lec-hint", role: "status" }); // what cannot be foreseen is read out; the usual hint is not
    this.pauseButton = h("button", { type: "button", class: "lec-button lec-live-pause", onclick: () => (this.waits ? on.resume() : on.pause()) });
    this.stopButton = h("button", { type: "button", class: "lec-button lec-live-stop", hidden: true, onclick: () => on.stop() }, icon("stop"), "Stop");
    const choice = (mode, label) => h("button", { type: "button", class: "lec-choice", "data-mode": mode, "aria-pressed": "false", onclick: () => on.mode(mode) }, label);
    this.choices = h("div", { class: "lec-choices", role: "group", "aria-label": "How to speak" }, choice("hands_free", "Hands-free"), choice("push_to_talk", "Hold to talk"));
    this.talkButton = this.makeTalkButton();
    this.commands = h("details", { class: "lec-live-commands" }, h("summary", {}, "You can also say"),
      h("div", { class: "lec-live-said" }, COMMANDS.map(([name, label]) => h("button", { type: "button", class: "lec-button lec-quiet", onclick: () => on.command(name) }, label))));
    this.said = h("div", { class: "lec-live-notice", "aria-live": "polite" });
    this.panel = h("div", { class: "lec-live", hidden: true },
      h("div", { class: "lec-live-main" }, this.orb, h("div", { class: "lec-live-words" }, this.title, this.hint, this.remarked), this.stopButton, this.pauseButton),
      this.talkButton,
      h("div", { class: "lec-live-more" }, this.choices, this.commands));
    this.element = h("div", { class: "lec-live-place" }, this.said, this.panel);
  }

  // Held with the finger, the mouse or (see live_keys.js) the space bar. Who cannot hold a button, but only press it (the
  // enter key, a screen reader, a switch), begins to talk with one press and ends with the next.
  makeTalkButton() {
    const button = h("button", { type: "button", class: "lec-talk", hidden: true, "aria-pressed": "false",
      onpointerdown: (event) => {
        if (event.button !== 0) return;
        button.setPointerCapture(event.pointerId);
        this.on.talk(true);
      },
      onpointerup: () => this.on.talk(false), onpointercancel: () => this.on.talk(false), onlostpointercapture: () => this.on.talk(false),
      onclick: (event) => { if (event.detail === 0) this.on.talk(button.getAttribute("aria-pressed") !== "true"); },
      onkeydown: (event) => { if (event.key === "Enter" && event.repeat) event.preventDefault(); },
      oncontextmenu: (event) => event.preventDefault(), // a long press on a phone
    }, icon("mic"), h("span", {}, "Hold to talk"));
    return button;
  }

  get waits() {
    return this.paused || this.state === "blocked";
  }

  // `remark`: instead of the usual hint; `paused`: the microphone is off, whatever else goes on.
  show(state, { mode = this.mode, remark = "", paused = false } = {}) {
    const changed = state !== this.state || mode !== this.mode || remark !== this.remark || paused !== this.paused;
    Object.assign(this, { state, mode, remark, paused });
    if (!changed) return;
    this.panel.hidden = state === "off";
    this.panel.dataset.state = state;
    const [title = ""] = WORDS[state] ?? [];
    const [, free = "", held = ""] = WORDS[paused && state === "speaking" ? "paused" : state] ?? [];
    if (this.title.textContent !== title) this.title.textContent = title; // said anew by screen readers whenever it is set
    this.hint.textContent = mode === "hands_free" ? free : held;
    this.hint.hidden = Boolean(remark);
    if (this.remarked.textContent !== remark) this.remarked.textContent = remark;
    const focused = document.activeElement;
    this.pauseButton.replaceChildren(icon(this.waits ? "mic" : "micOff"), h("span", {}, this.waits ? "Go on" : "Pause"));
    this.pauseButton.classList.toggle("lec-button-main", this.waits);
    this.pauseButton.hidden = state === "asking" || state === "connecting";
    this.stopButton.hidden = !["speaking", "held", "thinking"].includes(state);
    this.talkButton.hidden = mode !== "push_to_talk" || this.waits || state === "asking" || state === "connecting";
    // A button that goes must not take the keyboard's place on the page with it.
    if ([this.stopButton, this.talkButton].includes(focused) && focused.hidden && !this.pauseButton.hidden) this.pauseButton.focus({ preventScroll: true });
    for (const button of this.choices.children) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    if (state !== "hearing" && state !== "listening" && state !== "speaking" && state !== "held") this.level(0);
  }

  held(down) {
    this.talkButton.setAttribute("aria-pressed", String(down));
    this.talkButton.lastChild.textContent = down ? "Let go when you have finished" : "Hold to talk";
  }

  level(peak) {
    const loud = (Math.round(10 * Math.min(1, 2.5 * peak)) / 10).toFixed(1); // in steps: every change is drawn
    if (loud === this.loud) return;
    this.loud = loud;
    this.orb.style.setProperty("--lec-loud", loud);
  }

  // A line that stays until it is dismissed or the next one comes; null: none.
  tell(problem, retry = null) {
    this.said.replaceChildren(...(problem ? [notice(problem, { retry, dismiss: () => this.said.replaceChildren() })] : []));
  }
}
