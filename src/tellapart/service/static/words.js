// What is said of an answer, in words and in a table. Nothing here touches the page.

/** A share as everywhere in tellapart, its sign on the line of its number. */
export const percent = (share, decimals = 1) =>
  window.tellapart.percent(share, decimals).replace(" ", "\u00a0");

const round = (share) => `${Number((100 * share).toPrecision(4))}\u00a0%`;
const limit = (share) => `${Number((100 * share).toPrecision(3))}\u00a0%`;
const listed = (names) => {
  const quoted = names.map((name) => `'${name}'`);
  return quoted.length < 2 ? quoted.join("") : `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}`;
};

/** The classes of an answer with their probabilities, the likeliest first. */
export const ranked = (answer) =>
  Object.entries(answer.probabilities).sort(([, a], [, b]) => b - a);

/** The class that is said, or that would be were the answer not "unknown" or "uncertain". */
export const chosen = (answer, policy) => {
  if (!answer.unknown && !answer.uncertain) return answer.prediction;
  const { decision } = policy;
  const order = ranked(answer);
  if (!decision) return order[0][0];
  if (answer.probabilities[decision.positive] >= decision.threshold) return decision.positive;
  return order.find(([name]) => name !== decision.positive)[0];
};

/** How the answer came about, in one or two sentences. */
export const reason = (answer, policy) => {
  const of = (name) => percent(answer.probabilities[name]);
  const best = chosen(answer, policy);
  const said = [];
  if (answer.unknown) {
    said.push(`It is unlike the pictures that this classifier was trained on. The nearest of its classes is '${best}', with ${of(best)}.`);
  } else if (answer.uncertain) {
    const { above, at_most_wrong: wrong } = policy.abstention;
    said.push(`No answer: '${best}' has ${of(best)}, and it answers above ${limit(above)} only, so that at most ${round(wrong)} of its answers are wrong.`);
  } else if (policy.decision) {
    const { positive, threshold } = policy.decision;
    said.push(best === positive
      ? `It says '${positive}' from ${limit(threshold)} on; here that has ${of(positive)}.`
      : `It says '${positive}' from ${limit(threshold)} on; here that has only ${of(positive)}.`);
  } else {
    const classes = Object.keys(answer.probabilities).length;
    said.push(`The likeliest of ${classes} classes.`);
  }
  if (answer.set && !answer.unknown) {
    const coverage = round(policy.sets.coverage);
    said.push(answer.set.length === 1
      ? `Nothing but '${answer.set[0]}' is in the set that holds the true class for ${coverage} of such pictures.`
      : `For ${coverage} of such pictures the true class is in the set; here that is ${listed(answer.set)}.`);
  }
  return said.join(" ");
};

/** The answer in a few words, for ears: "cat, 98.1 %". */
export const brief = (answer, policy) => {
  if (answer.error) return answer.error;
  const best = chosen(answer, policy);
  const nearest = `${best}, ${percent(answer.probabilities[best])}`;
  return answer.unknown || answer.uncertain ? `${answer.prediction}, nearest ${nearest}` : nearest;
};

/** How many pictures got which answer: "7 cat, 4 dog, 1 not read". */
export const counted = (answers) => {
  const counts = new Map();
  for (const answer of answers) {
    const word = answer.error ? "not read" : answer.prediction;
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return [...counts].sort(([, a], [, b]) => b - a).map(([word, count]) => `${count} ${word}`).join(", ");
};

// --- a table in a file -------------------------------------------------------------------------

// As Python's csv writes it: names stay as they are, so that a program gets them back.
const quoted = (cell) => /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
const flag = (value) => value === undefined ? "" : String(value);

const rowOf = (path, answer, model) => {
  const named = {
    unknown: flag(answer.unknown),
    uncertain: flag(answer.uncertain),
    set: answer.set ? `[${answer.set.map((name) => JSON.stringify(name)).join(", ")}]` : "",
    error: answer.error ?? "",
    decision: model.rule,
    model: model.name,
  };
  const cells = [path, answer.prediction ?? ""];
  for (const name of model.classes) cells.push(answer.error ? "" : answer.probabilities[name].toFixed(6));
  for (const column of model.columns.slice(cells.length)) cells.push(named[column]);
  return new Map(model.columns.map((column, index) => [column, cells[index]]));
};

/**
 * All answers as CSV, as `tellapart predict --out` writes them: a row a picture and model.
 * Where models have other columns, the table has those of all.
 *
 * rows: [{ path, answer, model: { name, classes, columns, rule } }]
 */
export const csv = (rows) => {
  const columns = [...new Set(rows.flatMap(({ model }) => model.columns))];
  const lines = rows.map(({ path, answer, model }) => {
    const row = rowOf(path, answer, model);
    return columns.map((column) => row.get(column) ?? "");
  });
  return [columns, ...lines].map((cells) => `${cells.map(quoted).join(",")}\r\n`).join("");
};
