// Elements of the page, made from data: text goes in as text, never as HTML.

/** An element with properties and children; those that are null or false are left out. */
export const element = (tag, properties = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name in made && name !== "list" && name !== "form") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== false));
  return made;
};

/** A name from a file or a class: shown in its own direction, so that it turns nothing round. */
export const named = (text, className = "name") => element("bdi", { className }, text);

/** A sign of the verdict, drawn by the templates of the reports. */
export const sign = (kind) => {
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("class", `sign ${kind}`);
  drawing.setAttribute("aria-hidden", "true");
  const draw = (d, className = "") => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", d);
    path.setAttribute("class", className);
    drawing.append(path);
  };
  draw("M12 1.6L23.4 22H.6Z", "shape");
  draw("M9.8 11.4c0-3 4.4-3 4.4-.4 0 1.9-2.2 2-2.2 4.2M12 18.6v.2");
  return drawing;
};

/** A picture as the reports have it: it opens larger when it is pressed. */
export const pictureCard = ({ source, alt, caption, path = "", truth = "", probabilities = null }) => {
  const image = element("img", { src: source, alt, decoding: "async" });
  const card = element("figure", { className: "picture" },
    element("button", { type: "button", className: "thumb", "aria-label": `Enlarge: ${alt}` }, image),
    element("figcaption", {}, caption));
  card.dataset.path = path;
  if (truth) card.dataset.true = truth;
  if (probabilities) card.dataset.probabilities = JSON.stringify(probabilities);
  return card;
};
