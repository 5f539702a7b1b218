// What became of the pictures: one of them in detail, and all of them as a table.

import { element, named, pictureCard, sign } from "./elements.js";
import { chosen, counted, percent, ranked, reason } from "./words.js";

const GLANCE = 6; // classes that are shown without being asked for
const METHODS = { "grad-cam": "Grad-CAM", occlusion: "occlusion" };

/** The address of a picture that came as base64. */
const address = (base64) => {
  const kinds = { iVBOR: "png", "/9j/": "jpeg", UklGR: "webp" };
  const kind = Object.keys(kinds).find((start) => base64.startsWith(start));
  return `data:image/${kinds[kind] ?? "png"};base64,${base64}`;
};

// --- one picture ---------------------------------------------------------------------------

const bar = ([name, share], answer, policy) => {
  const fill = element("span", { className: "bar-fill" });
  fill.style.width = `${100 * share}%`;
  const rail = element("span", { className: "bar-rail", "aria-hidden": "true" }, fill);
  if (policy.decision?.positive === name && policy.decision.threshold <= 1) {
    const line = element("span", { className: "bar-line" });
    line.style.left = `${100 * policy.decision.threshold}%`;
    rail.append(line);
  }
  const said = !answer.unknown && !answer.uncertain && name === answer.prediction;
  return element("li", { className: said ? "said-class" : "" },
    named(name), element("span", { className: "bar-value" }, percent(share)), rail);
};

const bars = (answer, policy) => {
  const order = ranked(answer);
  const most = order.length <= GLANCE + 2 ? order.length : GLANCE;
  const list = (rows) => element("ol", { className: "bars" }, rows.map((row) => bar(row, answer, policy)));
  if (order.length === most) return list(order);
  return [list(order.slice(0, most)),
    element("details", { className: "rest-of" },
      element("summary", {}, `The other ${order.length - most} classes`), list(order.slice(most)))];
};

const answerLine = (answer, policy) => {
  const none = answer.unknown || answer.uncertain;
  if (none) return element("p", { className: "answer doubtful" }, sign("too_few"), element("strong", {}, answer.prediction));
  const share = answer.probabilities[chosen(answer, policy)];
  return element("p", { className: "answer" },
    element("strong", {}, named(answer.prediction)), " ",
    element("span", { className: "answer-share" }, percent(share)));
};

const nearest = (explanation) => explanation.neighbours.length > 0 && element("div", { className: "near" },
  element("h4", {}, "The training pictures most like it"),
  element("div", { className: "pictures strip" }, explanation.neighbours.map((neighbour) => pictureCard({
    source: address(neighbour.thumbnail),
    alt: `training picture of ${neighbour.label}`,
    caption: element("span", { className: "said" }, named(neighbour.label)),
    path: neighbour.path,
    truth: neighbour.label,
  }))));

const correction = (picture, model, correct, several) => {
  const answer = picture.answers.get(model.name);
  if (!answer || answer.error) return false;
  if (picture.kept) {
    return element("p", { className: "kept", role: "status" }, "Kept as ", named(picture.kept), ". The next training can learn from it.");
  }
  const id = `correct-${picture.id}`;
  // Beside another model there are two answers, and either may be the wrong one.
  const names = model.classes.filter((name) => several || name !== answer.prediction);
  const select = element("select", { id, required: true },
    names.length > 1 && element("option", { value: "" }, "choose"), names.map((name) => element("option", { value: name }, name)));
  const button = element("button", { type: "submit" }, "Keep it for the next training");
  const note = element("p", { className: "reading", role: "status" });
  const form = element("form", { className: "correct" },
    element("label", { htmlFor: id }, "This is wrong: it is"), select, button, note);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.ariaBusy) return;
    form.ariaBusy = "true"; // and not a disabled button, which would lose the focus
    note.textContent = "";
    note.textContent = await correct(picture, model, select.value);
    form.ariaBusy = null;
  });
  return form;
};

const panel = (picture, model, { several, again }) => {
  const answer = picture.answers.get(model.name);
  const title = several && element("h4", { className: "panel-name" }, named(model.name));
  if (!answer) return element("div", { className: "panel" }, title, element("p", { className: "reading" }, "Being classified"));
  if (answer.error) {
    return element("div", { className: "panel" }, title,
      element("p", { className: "refused" }, answer.error),
      answer.again && element("button", { type: "button", className: "more-quiet", onclick: () => again(picture) }, "Try again"));
  }
  const explanation = picture.explanations.get(model.name);
  return element("div", { className: "panel" }, title,
    answerLine(answer, model.policy),
    element("p", { className: "reading" }, reason(answer, model.policy)),
    bars(answer, model.policy),
    several && explanation?.neighbours && nearest(explanation));
};

const looked = (picture, models) => {
  const several = models.length > 1;
  const own = picture.answers.get(models[0].name);
  const cards = [pictureCard({
    source: picture.source,
    alt: `your picture ${picture.name}`,
    caption: element("span", { className: "caption" }, "Your picture"),
    path: picture.name,
    probabilities: own && !own.error ? ranked(own).slice(0, 5) : null,
  })];
  const notes = [];
  for (const model of models) {
    const answer = picture.answers.get(model.name);
    if (answer?.error || !model.explains) continue;
    const explanation = picture.explanations.get(model.name);
    const who = several ? [named(model.name), " looked for "] : ["it looked for "];
    if (explanation?.overlay) {
      const { explained, method } = explanation;
      cards.push(pictureCard({
        source: explanation.overlay,
        alt: `where ${several ? model.name : "it"} looked for ${explained} in ${picture.name}`,
        caption: element("span", { className: "caption" }, "Where ", ...who, named(explained), ` (${METHODS[method] ?? method})`),
        path: picture.name,
      }));
    } else {
      const text = explanation?.error ?? "Finding out where it looked";
      cards.push(element("figure", { className: "picture" },
        element("div", { className: `thumb waiting${explanation?.error ? "" : " at-work"}` }, element("p", {}, text)),
        element("figcaption", {}, element("span", { className: "caption" }, "Where ", several ? [named(model.name), " looked"] : "it looked"))));
    }
    notes.push(...(explanation?.notes ?? []));
  }
  return element("div", { className: "looked" },
    element("div", { className: `pictures shown-${cards.length}` }, cards),
    [...new Set(notes)].map((note) => element("p", { className: "reading" }, note)));
};

/**
 * Show one picture in detail.
 *
 * picture: see page.js; models: one, or two beside each other.
 * step: told -1 or 1; correct, again: what to do with a wrong and with a missing answer.
 */
export const showDetail = (place, picture, { models, position, total, feedback, step, correct, again }) => {
  const several = models.length > 1;
  const explanation = picture.explanations.get(models[0].name);
  const bar = element("div", { className: "detail-bar" },
    element("h3", { id: "detail-name" }, named(picture.name)),
    total > 1 && element("span", { className: "viewer-count" }, `${position + 1} of ${total}`),
    total > 1 && element("span", { className: "steps" },
      element("button", { type: "button", onclick: () => step(-1), "aria-label": "Previous picture" }, "←"),
      element("button", { type: "button", onclick: () => step(1), "aria-label": "Next picture" }, "→")));
  const panels = models.map((model) => panel(picture, model, { several, again }));
  const wrong = feedback && correction(picture, models[0], correct, several);
  if (wrong && !several) panels[0].append(wrong);
  const focused = place.contains(document.activeElement) && document.activeElement !== place
    ? document.activeElement.ariaLabel || document.activeElement.id : null;
  place.replaceChildren(...[
    bar,
    element("div", { className: several ? "detail-body pair" : "detail-body" }, looked(picture, models), ...panels),
    several ? wrong : explanation?.neighbours && nearest(explanation),
  ].filter(Boolean));
  place.hidden = false;
  if (focused === null) return;
  // Whoever stands on a control keeps standing there.
  const same = [...place.querySelectorAll("button, select")].find((each) => (each.ariaLabel || each.id) === focused);
  (same ?? place).focus({ preventScroll: true });
};

// --- all pictures --------------------------------------------------------------------------

const heading = (title, numeric) => element("th", { scope: "col", className: numeric ? "num" : "txt", "aria-sort": "none" },
  element("button", { type: "button", className: "sort", "aria-label": `Sort by ${title}` }, title));

const cell = (content, sort, className) => {
  const made = element("td", { className }, [content].flat());
  made.dataset.sort = sort;
  return made;
};

const answerCells = (answer, model) => {
  if (!answer) return [cell("…", "", "txt"), cell("", "", "num")];
  if (answer.error) return [cell(element("span", { className: "refused" }, answer.error), "\uffff", "txt"), cell("", "", "num")];
  const share = answer.probabilities[chosen(answer, model.policy)];
  const none = answer.unknown || answer.uncertain;
  return [cell(none ? [element("span", { className: "doubtful" }, answer.prediction), ", nearest ", named(chosen(answer, model.policy))] : named(answer.prediction), answer.prediction, "txt"),
    cell(percent(share), String(share), "num")];
};

const rowOf = (picture, models, current, choose) => {
  const button = element("button", { type: "button", className: "pick", onclick: () => choose(picture, true) },
    element("span", { className: "pick-picture", "aria-hidden": "true" },
      picture.thumbnail && element("img", { src: picture.thumbnail, alt: "", decoding: "async" })),
    named(picture.name));
  if (picture === current) button.setAttribute("aria-current", "true");
  const head = element("th", { scope: "row", className: "txt" }, button);
  head.dataset.sort = picture.name;
  const given = models.map((model) => picture.answers.get(model.name));
  const differ = given.length > 1 && given.every((answer) => answer && !answer.error)
    && new Set(given.map((answer) => answer.prediction)).size > 1;
  const row = element("tr", { className: [picture === current && "current", differ && "differs"].filter(Boolean).join(" ") },
    head, models.flatMap((model, index) => answerCells(given[index], model)));
  row.dataset.picture = picture.id;
  if (models.length > 1) row.append(cell(differ ? "they differ" : "", differ ? "0" : "1", "txt"));
  return row;
};

/** Show all pictures as a table; choose: told which one is wanted. */
export const showList = (place, pictures, { models, current, choose, save, clear }) => {
  const several = models.length > 1;
  const first = pictures.map((picture) => picture.answers.get(models[0].name)).filter(Boolean);
  const left = pictures.length - first.length;
  const sums = models.map((model) => {
    const answers = pictures.map((picture) => picture.answers.get(model.name)).filter(Boolean);
    return `${several ? `${model.name}: ` : ""}${counted(answers)}`;
  });
  const columns = models.flatMap((model) => [
    [several ? model.name : "Answer", false],
    [several ? `Probability (${model.name})` : "Probability", true],
  ]);
  if (several) columns.push(["Compared", false]);
  const table = element("table", { className: "data" },
    element("caption", {}, "All pictures and their answers"),
    element("thead", {}, element("tr", {}, heading("Picture", false), columns.map(([title, numeric]) => heading(title, numeric)))),
    element("tbody", {}, pictures.map((picture) => rowOf(picture, models, current, choose))));
  place.replaceChildren(
    element("div", { className: "list-bar" },
      element("h3", {}, pictures.length === 1 ? "1 picture" : `${pictures.length} pictures`),
      element("p", { className: "says" }, left ? `${first.length} of ${pictures.length} answered` : sums.join("; ")),
      element("span", { className: "steps" },
        element("button", { type: "button", id: "save", onclick: save, disabled: left > 0 }, "Save as CSV"),
        element("button", { type: "button", id: "clear", onclick: clear }, "Start again"))),
    pictures.length > 1 ? element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "All pictures" }, table) : "");
  place.hidden = false;
};

/** Exchange the row of one picture where the table is there already; whether it was. */
export const refreshRow = (place, picture, { models, current, choose }) => {
  const row = place.querySelector(`tr[data-picture="${picture.id}"]`);
  if (!row) return;
  const focused = row.contains(document.activeElement);
  const fresh = rowOf(picture, models, current, choose);
  row.replaceWith(fresh);
  if (focused) fresh.querySelector("button").focus();
};
