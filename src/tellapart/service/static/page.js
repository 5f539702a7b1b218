// The page of the service: its state, and what happens when something comes in.

import { Refusal, askAnswer, askExplanation, askModels, hasToken, sendCorrection, useToken } from "./asking.js";
import { element } from "./elements.js";
import { listen } from "./intake.js";
import { refreshRow, showDetail, showList } from "./results.js";
import { brief, csv } from "./words.js";

const one = (id) => document.getElementById(id);
const THUMBNAIL = 96;

/**
 * A picture: { id, file, name, source, thumbnail, shape, looked, answers, asked, explanations, kept }.
 * source and thumbnail are addresses in memory; looked is settled once thumbnail and shape are
 * known; answers, explanations and what is asked at the moment go by the model's name.
 */
const state = { told: null, pictures: [], current: null, number: 0 };

const models = () => {
  const names = [one("model").value, one("beside").value].filter(Boolean);
  return [...new Set(names)].map((name) => state.told.models.find((model) => model.name === name));
};
const say = (text) => { one("said").textContent = text; };
const note = (text) => { one("note").textContent = text; };

// --- the models ----------------------------------------------------------------------------

const showModels = () => {
  const [model, beside] = models();
  document.title = `${model.title} – tellapart`;
  one("title").textContent = model.title;
  one("subtitle").textContent = beside ? `${model.name} beside ${beside.name}` : model.subtitle;
  // HTML of the service itself, in which the templates escaped every name.
  one("trust").innerHTML = models().map((each) => each.trust).join("");
  one("abouts").innerHTML = models().map((each) => each.about).join("");
  one("try").classList.toggle("two", Boolean(beside));
  for (const link of one("trust").querySelectorAll("a")) {
    link.addEventListener("click", () => { one("about").querySelector("details").open = true; });
  }
};

const chooseModels = () => {
  const names = state.told.models.map((model) => model.name);
  one("model").replaceChildren(...names.map((name) => element("option", { value: name }, name)));
  const others = () => {
    const kept = one("beside").value;
    one("beside").replaceChildren(element("option", { value: "" }, "no other"),
      ...names.filter((name) => name !== one("model").value).map((name) => element("option", { value: name }, name)));
    one("beside").value = names.includes(kept) && kept !== one("model").value ? kept : "";
  };
  others();
  one("choosing").hidden = names.length < 2;
  for (const select of [one("model"), one("beside")]) {
    select.onchange = () => { others(); showModels(); classify(); };
  }
};

const askToken = (why) => {
  one("token").hidden = false;
  one("token-note").textContent = why;
  one("token-text").focus();
};

const load = async () => {
  if (one("token").dataset.asked === "true" && !hasToken()) {
    askToken("");
    return;
  }
  try {
    state.told = await askModels();
  } catch (error) {
    if (error.status === 401) {
      askToken(one("token-text").value ? "That is not the token of this service." : "");
      return;
    }
    one("subtitle").textContent = error.message;
    return;
  }
  one("token").hidden = true;
  if (!state.told.models.length) { // the page is there before they are
    one("subtitle").textContent = "The classifier is being loaded.";
    setTimeout(load, 1000);
    return;
  }
  chooseModels();
  showModels();
  one("try").hidden = false;
  one("about").hidden = false;
  dispatchEvent(new Event("scroll")); // the script of the reports looks again where the reader is
};

/** A model was exchanged while the page was open: all is asked again, so that no answers mix. */
const renew = async () => {
  const kept = models();
  state.told = await askModels();
  for (const old of kept) {
    if (state.told.models.find(({ name }) => name === old.name)?.version === old.version) continue;
    for (const picture of state.pictures) {
      picture.answers.delete(old.name);
      picture.explanations.delete(old.name);
    }
  }
  showModels();
  await classify();
};

// --- pictures ------------------------------------------------------------------------------

const thumbnailOf = async (file) => {
  const whole = await createImageBitmap(file);
  const scale = THUMBNAIL / Math.max(whole.width, whole.height, 1);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(whole.width * scale));
  canvas.height = Math.max(1, Math.round(whole.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(whole, 0, 0, canvas.width, canvas.height);
  const shape = { width: whole.width, height: whole.height };
  whole.close();
  const blob = await new Promise((done) => { canvas.toBlob(done); });
  return { source: URL.createObjectURL(blob), shape };
};

// One after the other: a large picture takes 50 MB while it is open.
let looking = Promise.resolve();
const look = (picture) => {
  looking = looking.then(async () => {
    try {
      const { source, shape } = await thumbnailOf(picture.file);
      Object.assign(picture, { thumbnail: source, shape });
    } catch { return; } // a kind that this browser cannot show; the service may know it
    refreshRow(one("list"), picture, listParts());
  });
  return looking;
};

const take = async (given) => {
  const before = state.pictures.length;
  for (const { file, name } of given) {
    state.number += 1;
    const picture = {
      id: state.number, file, name, source: URL.createObjectURL(file), thumbnail: "", shape: null,
      answers: new Map(), asked: new Set(), explanations: new Map(), kept: "",
    };
    picture.looked = look(picture);
    state.pictures.push(picture);
  }
  one("try").classList.add("with-results");
  state.current = state.pictures[before];
  show();
  await classify();
};

/** Everything again: the detail, and the table. */
const show = () => {
  if (!state.current) return;
  showTable();
  showCurrent();
};

const listParts = () => ({ models: models(), current: state.current, choose, save, clear });
const showTable = () => showList(one("list"), state.pictures, listParts());

const showCurrent = () => {
  const picture = state.current;
  const place = one("detail");
  if (document.activeElement.closest("#detail .correct")) return; // not under somebody's hands
  const position = state.pictures.indexOf(picture);
  showDetail(place, picture, {
    models: models(), position, total: state.pictures.length, feedback: state.told.feedback,
    step: (by) => {
      choose(state.pictures.at((position + by) % state.pictures.length));
    },
    correct, again: (each) => { each.answers.clear(); classify(); },
  });
};

const choose = (picture, move = false) => {
  const before = state.current;
  state.current = picture;
  for (const each of [before, picture]) refreshRow(one("list"), each, listParts());
  showCurrent();
  if (move) {
    one("detail").focus({ preventScroll: true });
    one("detail").scrollIntoView({ block: "start" });
  }
  explain(picture);
};

/** Ask for every answer that is not there, each shown as it comes. */
const classify = async () => {
  const wanted = models();
  const missing = state.pictures.flatMap((picture) =>
    wanted.filter(({ name }) => !picture.answers.has(name) && !picture.asked.has(name))
      .map((model) => [picture, model]));
  for (const [picture, model] of missing) picture.asked.add(model.name);
  show();
  let changed = false;
  await Promise.all(missing.map(async ([picture, model]) => {
    let answer;
    try {
      const limit = state.told.limits.request_bytes;
      if (picture.file.size > limit) {
        throw new Refusal(413, `It is larger than the ${Math.floor(limit / 2 ** 20)} MiB that this service takes.`);
      }
      const told = await askAnswer(picture, model.name);
      answer = told.answer;
      changed ||= told.version !== model.version;
    } catch (error) {
      answer = { error: error.message, again: error.status === 0 || error.status >= 429 };
      if (error.status === 401) load();
    }
    picture.asked.delete(model.name);
    if (!state.pictures.includes(picture)) return; // cleared meanwhile
    picture.answers.set(model.name, answer);
    arrived(picture, model, answer);
  }));
  if (changed) await renew().catch(() => {});
};

const arrived = (picture, model, answer) => {
  refreshRow(one("list"), picture, listParts());
  const answers = state.pictures.flatMap((each) => models().map((one) => each.answers.get(one.name)));
  const open = answers.filter((each) => !each).length;
  if (!open) {
    showTable();
    say(state.pictures.length === 1 ? `${picture.name}: ${brief(answer, model.policy)}`
      : `All ${state.pictures.length} pictures are answered.`);
  }
  if (picture === state.current) {
    showCurrent();
    explain(picture);
  }
};

/** An overlay drawn in the shape of the picture, where the network sees it squashed. */
const inShape = async (base64, shape, fit) => {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const drawn = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = document.createElement("canvas");
  const scale = 2 * Math.max(drawn.width, drawn.height) / Math.max(shape?.width ?? 1, shape?.height ?? 1);
  const squashed = fit === "squash" && shape;
  canvas.width = squashed ? Math.max(1, Math.round(shape.width * scale)) : drawn.width;
  canvas.height = squashed ? Math.max(1, Math.round(shape.height * scale)) : drawn.height;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(drawn, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((done) => { canvas.toBlob(done); });
  return URL.createObjectURL(blob);
};

/** Find out where each model looked in a picture; only of the one that is shown. */
const explain = async (picture) => {
  for (const model of models()) {
    const answer = picture.answers.get(model.name);
    if (!answer || answer.error || !model.explains || picture.explanations.has(model.name)) continue;
    picture.explanations.set(model.name, null);
    let found;
    try {
      const told = await askExplanation(picture, model.name);
      await picture.looked;
      const [first] = told.overlays;
      found = { ...told, method: first.method, overlay: await inShape(first.png, picture.shape, model.fit) };
    } catch (error) {
      found = { error: error.message };
    }
    picture.explanations.set(model.name, found);
    if (picture === state.current) showCurrent();
  }
};

const correct = async (picture, model, label) => {
  try {
    await sendCorrection(picture, model.name, label);
  } catch (error) {
    return error.message;
  }
  picture.kept = label;
  one("detail").focus({ preventScroll: true });
  if (picture === state.current) showCurrent();
  return "";
};

// --- all of them ---------------------------------------------------------------------------

const save = () => {
  const rows = models().flatMap((model) => state.pictures.map((picture) => ({
    path: picture.name, answer: picture.answers.get(model.name), model,
  })));
  const link = element("a", {
    href: URL.createObjectURL(new Blob([csv(rows)], { type: "text/csv;charset=utf-8" })),
    download: "answers.csv",
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser may still be reading
};

const clear = () => {
  for (const picture of state.pictures) {
    const overlays = [...picture.explanations.values()].map((each) => each?.overlay);
    for (const source of [picture.source, picture.thumbnail, ...overlays]) if (source) URL.revokeObjectURL(source);
  }
  state.pictures = [];
  state.current = null;
  for (const id of ["detail", "list"]) {
    one(id).replaceChildren();
    one(id).hidden = true;
  }
  one("try").classList.remove("with-results");
  note("");
  say("");
  one("choose").focus();
};

// What came while a correction was being chosen.
one("detail").addEventListener("focusout", (event) => {
  if (event.target.closest(".correct") && !event.relatedTarget?.closest(".correct")) setTimeout(show);
});
one("token").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(one("token-text").value);
  load();
});
listen({ take, note });
load();
