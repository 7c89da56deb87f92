// The page of a live loop: takes frames from the server, hands them to the panels, and asks for what the operator wants.

import { Durations, Returns, Signals } from "./charts.js";
import { Controls } from "./controls.js";
import { drawBar, grouped, readTheme, short } from "./draw.js";
import { Matrices } from "./matrices.js";
import { Spikes, Ticks, Voltages } from "./neurons.js";

const [AGAIN, RARELY] = [1000, 30000]; // ms until a lost connection is tried anew, at first and at last
const STILL = 2000; // ms without a tick: a loop stands still
const find = (id) => document.getElementById(id);
const KINDS = { "|u1": Uint8Array, "|i1": Int8Array, "<f8": Float64Array };

let plan = null;
let socket = null;
let panels = {};
let stale = new Set(); // panels to be drawn at the next chance
let waiting = false; // for the screen
let ended = false;
let pause = AGAIN; // until the next try to connect
let sayings = null;
let moved = { tick: -1, at: 0, ticks: [], frames: [] };
const controls = new Controls((message) => send(message));

// --- the connection --------------------------------------------------------------------------------------------------

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function connect() {
  socket = new WebSocket(`ws://${location.host}/live`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => (typeof data === "string" ? hear(JSON.parse(data)) : take(data));
  socket.onclose = ({ code, reason }) => {
    ended ||= code === 1001 && reason.includes("ended");
    document.body.classList.add("gone");
    controls.disconnected();
    if (ended) show("ended", "the loop has ended");
    else show("lost", "connection lost, trying again");
    setTimeout(connect, pause);
    pause = Math.min(2 * pause, RARELY);
  };
}

function hear(message) {
  if (message.type === "plan") begin(message.plan);
  else if (message.type === "answer") controls.hear(message);
}

/** Header and arrays of a frame. */
function unpack(data) {
  const length = new DataView(data).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  for (const [name, [kind, start, size]] of Object.entries(header.arrays)) {
    header.arrays[name] = new KINDS[kind](data, 4 + length + start, size);
  }
  return header;
}

/** Take in a frame, and draw when the screen is ready for it. */
function take(data) {
  const frame = unpack(data);
  const { arrays } = frame;
  if (arrays.spikes) {
    panels.ticks.add(frame.first, frame.rows, arrays.spikes, arrays.voltages);
    stale.add("spikes").add("voltages");
  }
  if (arrays.samples.length) {
    panels.signals.history.add(arrays.samples);
    stale.add("signals");
  }
  if (arrays.returns.length) {
    panels.returns.history.add(arrays.returns);
    panels.returns.episodes = frame.episodes;
    stale.add("returns");
  }
  if (arrays.durations) {
    panels.durations.set(arrays.durations, frame.lowest, frame.longest);
    stale.add("durations");
  }
  if (arrays.traces) {
    panels.traces.set(arrays.traces, frame.trace_scales);
    panels.change.set(arrays.change, frame.change_scales);
    find("since").textContent = `since ${new Date(Date.now() - 1000 * frame.since).toLocaleTimeString()}`;
    stale.add("traces").add("change");
  }
  controls.set(frame.values);
  if (frame.sayings !== sayings && (sayings !== null || frame.sayings)) find("said").textContent = frame.said;
  sayings = frame.sayings;
  count(frame);
  drawSoon(true);
}

/** Draw what is stale with the screen's next picture; a hidden page is never ready for a frame. */
function drawSoon(ready) {
  waiting ||= ready;
  requestAnimationFrame(() => {
    draw();
    if (waiting && document.visibilityState === "visible") {
      waiting = false;
      send({ type: "ready" });
    }
  });
}

function draw() {
  const span = Number(find("span").value);
  for (const name of stale) if (panels[name]) panels[name].draw(span);
  stale.clear();
}

// --- what is shown ---------------------------------------------------------------------------------------------------

/** Build the panels of a loop. */
function begin(given) {
  plan = given;
  ended = false;
  pause = AGAIN;
  document.title = `${plan.title} – threefactor`;
  find("title").textContent = plan.title;
  document.body.classList.remove("gone");
  show("", "waiting for the first tick");
  const ticks = new Ticks(plan.neurons);
  const matrices = Object.keys(plan.matrices).length > 0;
  for (const [id, wanted] of Object.entries({
    spikes: plan.neurons, voltages: plan.neurons, traces: matrices, change: matrices, signals: plan.signals.length,
    returns: false, durations: plan.durations.length,
  })) find(id).hidden = !wanted;
  document.querySelector("main").classList.toggle("single", !plan.neurons && !matrices); // nothing for the left column
  find("neurons").textContent =
    plan.neurons < plan.of_neurons ? `${plan.neurons} of ${plan.of_neurons} neurons` : `${plan.neurons} neurons`;
  find("v-low").textContent = short(-plan.v_th);
  find("v-high").textContent = short(plan.v_th);
  panels = {
    ticks, spikes: new Spikes(find("spikes"), ticks), voltages: new Voltages(find("voltages"), ticks, plan.v_th),
    traces: new Matrices(find("traces"), plan.matrices), change: new Matrices(find("change"), plan.matrices),
    signals: new Signals(find("signals"), plan.signals), returns: new Returns(find("returns")),
    durations: new Durations(find("durations"), plan.durations),
  };
  moved = { tick: -1, at: performance.now(), ticks: [], frames: [] };
  sayings = null;
  find("said").textContent = "";
  controls.begin(plan.controls);
  if (!plan.neurons) delete panels.spikes, delete panels.voltages;
  spoil();
  drawSoon(true);
}

/** Everything has to be drawn anew: another size, or other colours. */
function spoil() {
  readTheme();
  document.querySelectorAll("canvas.bar").forEach(drawBar);
  for (const name of ["spikes", "voltages"]) panels[name]?.spoil();
  stale = new Set(Object.keys(panels).filter((name) => panels[name].draw));
}

function show(kind, text) {
  const state = find("state");
  if (state.textContent === text) return;
  state.textContent = text;
  state.className = `state ${kind}`;
}

/** Numbers at the top, and what the loop does. */
function count({ tick, dropped, arrays }) {
  const now = performance.now();
  moved.frames.push(now);
  while (moved.frames[0] < now - 2000) moved.frames.shift();
  if (tick !== moved.tick || arrays.samples.length) Object.assign(moved, { tick, at: now });
  moved.ticks.push([now, tick]);
  while (moved.ticks[0][0] < now - 3000) moved.ticks.shift();
  const [then, before] = moved.ticks[0];
  for (const id of ["tick", "rate"]) find(id).parentElement.hidden = !plan.neurons; // without any, ticks are not counted
  find("tick").textContent = grouped(tick);
  const rate = (1000 * (tick - before)) / (now - then);
  find("rate").textContent = now - then > 500 ? short(Number(rate.toPrecision(2))) : "–";
  find("fps").textContent = String(Math.round(moved.frames.length / Math.min(2, (now - moved.frames[0]) / 1000 || 2)));
  find("dropped").textContent = grouped(dropped);
  const missed = panels.signals.last("missed deadlines");
  find("missed").hidden = missed === undefined;
  if (missed !== undefined) {
    find("missed").querySelector("dd").textContent = grouped(missed);
    find("missed").classList.toggle("some", missed > 0);
  }
  if (controls.paused) show("paused", "paused");
  else if (tick <= 0 && !panels.signals.history.rows.length) show("", "waiting for the first tick");
  else if (now - moved.at > STILL) show("still", "the loop stands still");
  else if (controls.learning === false) show("live", "live, learning off");
  else show("live", "live");
}

// --- the browser -----------------------------------------------------------------------------------------------------

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") send({ type: "away" });
  else drawSoon(true);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (spoil(), drawSoon(false)));
new ResizeObserver(() => (spoil(), drawSoon(false))).observe(document.querySelector("main"));
find("span").addEventListener("change", () => (spoil(), drawSoon(false)));
find("compare").addEventListener("click", () => send({ type: "compare" }));
readTheme();
connect();
