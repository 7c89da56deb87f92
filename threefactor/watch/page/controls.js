// What the operator may ask for. Each control shows what is so, as the loop says, not what was asked for.

const find = (id) => document.getElementById(id);
const DECADES = 3; // of the slider
const OFTEN = 100; // ms between two slopes that are asked for while the slider moves

/** The token of the address, kept for reloads in this tab alone and taken out of the address bar. */
function readToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token") ?? "";
}

export class Controls {
  /** `send`: takes a message for the server. */
  constructor(send) {
    this.send = send;
    this.names = [];
    this.values = {};
    this.token = readToken();
    this.allowed = false;
    this.lowest = 0.1; // slope at the slider's left end
    this.later = 0;
    find("controls").onsubmit = (event) => event.preventDefault();
    find("pause").onclick = () => this.ask("pause", this.paused ? 0 : 1);
    find("learning").onclick = () => this.ask("learning", this.learning ? 0 : 1);
    find("save").onclick = () => this.ask("save", 1);
    find("slope").oninput = () => this.slide();
    find("slope-number").onchange = () => this.type();
    find("slope-number").onblur = () => (this.values = {}); // the next frame shows what is so
    addEventListener("hashchange", () => {
      this.token = readToken();
      this.check();
    });
  }

  get paused() {
    return this.values.pause === 1;
  }

  /** Whether it learns; undefined where that cannot be switched. */
  get learning() {
    return "learning" in this.values ? this.values.learning === 1 : undefined;
  }

  /** Show the controls of a loop. */
  begin(names) {
    this.names = names;
    this.values = {};
    for (const name of ["pause", "learning", "slope", "save"]) {
      find(name === "slope" ? "slope-group" : name).hidden = !names.includes(name);
    }
    find("saved").hidden = true;
    this.check();
  }

  /** Ask the server whether the token is right. */
  check() {
    this.allow(false);
    if (!this.names.length) this.tell("");
    else if (this.token) this.send({ type: "may", token: this.token });
    else this.tell("To control the loop, open the address that it printed at its start; it ends in #token=…");
  }

  disconnected() {
    this.allow(false);
    this.tell("");
  }

  allow(allowed) {
    this.allowed = allowed;
    for (const id of ["pause", "learning", "slope", "slope-number", "save"]) find(id).disabled = !allowed;
  }

  /** An answer of the server. */
  hear({ to, ok, text }) {
    if (to === "may") {
      this.allow(ok);
      this.tell(ok ? "" : "The token of this page is wrong: open the address that the loop printed at its start.", !ok);
    } else {
      if (!ok) this.values = {}; // the next frame shows what is so
      this.tell(ok ? "" : `${to ? `${to}: ` : ""}${text}`, !ok);
    }
  }

  tell(text, bad = false) {
    find("note").textContent = text;
    find("note").classList.toggle("bad", bad);
  }

  ask(control, value) {
    this.send({ type: "ask", control, value, token: this.token });
  }

  /** What is so. */
  set(values) {
    this.names.forEach((name, k) => this.setOne(name, values[k]));
  }

  setOne(name, value) {
    if (this.values[name] === value) return;
    this.values[name] = value;
    if (name === "pause") {
      find("pause").textContent = this.paused ? "Go on" : "Pause";
      find("pause").setAttribute("aria-pressed", String(this.paused));
      find("pause").classList.toggle("off", this.paused);
    } else if (name === "learning") {
      find("learning").textContent = `Learning: ${this.learning ? "on" : "off"}`;
      find("learning").setAttribute("aria-pressed", String(this.learning));
      find("learning").className = this.learning ? "on" : "off";
    } else if (name === "save") {
      find("saved").hidden = !value;
      find("saved").textContent = `saved ${value === 1 ? "once" : `${value} times`}`;
    } else if (name === "slope") {
      this.setSlope(value);
    }
  }

  // The slider is logarithmic; it spans three decades, and moves to others where the slope lies outside.

  setSlope(slope) {
    if (!(slope > 0)) return;
    const outside = slope < this.lowest || slope > this.lowest * 10 ** DECADES;
    if (outside) this.lowest = 10 ** Math.floor(Math.log10(slope) - 1);
    if (document.activeElement !== find("slope-number")) find("slope-number").value = Number(slope.toPrecision(4));
    if (!find("slope").matches(":active")) {
      find("slope").value = (1000 / DECADES) * Math.log10(slope / this.lowest);
    }
    find("slope").setAttribute("aria-valuetext", `${Number(slope.toPrecision(4))} per voltage`);
  }

  type() {
    const given = find("slope-number").value;
    if (given !== "") this.ask("slope", Number(given));
  }

  slide() {
    const slope = Number((this.lowest * 10 ** ((find("slope").value * DECADES) / 1000)).toPrecision(3));
    find("slope-number").value = slope;
    clearTimeout(this.later);
    this.later = setTimeout(() => this.ask("slope", slope), OFTEN);
  }
}
