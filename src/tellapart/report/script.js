"use strict";
// Sorting, filtering and enlarging. Without it the page still shows everything.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  const PAGE = 12;
  const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  // As wording.percent writes it: what is not all is never 100, what is not none never 0.
  const percent = (share, decimals = 1) => {
    for (const digits of [decimals, decimals + 1]) {
      const number = (100 * share).toFixed(digits);
      if (share <= 0 || share >= 1 || (Number(number) > 0 && Number(number) < 100)) return `${number} %`;
    }
    const least = 10 ** -(decimals + 1);
    return share > 0.5 ? `> ${(100 - least).toFixed(decimals + 1)} %` : `< ${least.toFixed(decimals + 1)} %`;
  };
  window.tellapart = { percent }; // for the page of the service, which has a script of its own

  // Light or dark: what the system says until the reader chooses.
  const root = document.documentElement;
  const theme = one(".theme");
  const isDark = () => root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const nameTheme = () => { one(".theme-text", theme).textContent = isDark() ? "Light" : "Dark"; };
  const remember = (value) => {
    try {
      if (value) localStorage.setItem("tellapart-theme", value);
      return localStorage.getItem("tellapart-theme");
    } catch { return null; } // storage is refused in private windows and some file views
  };
  const chosen = remember();
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  theme.hidden = false;
  nameTheme();
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember(root.dataset.theme);
    nameTheme();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);

  // What is folded opens when a link leads into it, and all of it for paper.
  const unfold = (element) => {
    for (let at = element; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    const own = element && one(":scope > details", element);
    if (own) own.open = true;
  };
  const follow = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (target) { unfold(target); target.scrollIntoView(); }
  };
  addEventListener("hashchange", follow);
  follow();
  for (const link of all(".sections a")) link.addEventListener("click", () => unfold(one(link.hash)));
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open])");
    for (const each of folded) each.open = true;
  });
  addEventListener("afterprint", () => { for (const each of folded) each.open = false; });

  // The section that is being read is marked in the navigation.
  const links = new Map(all(".sections a").map((link) => [link.hash.slice(1), link]));
  const mark = () => {
    const line = Math.min(innerHeight / 3, 240); // a tall window shows several from the first
    let current = null;
    for (const id of links.keys()) {
      const section = document.getElementById(id);
      if (section && section.getBoundingClientRect().top < line) current = id;
    }
    for (const [id, link] of links) {
      if (id === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  let waiting = false;
  addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; mark(); });
  }, { passive: true });
  mark();

  // Tables: a heading sorts, a second press turns the order round; empty cells stay last.
  for (const head of all("table.data thead th")) head.setAttribute("aria-sort", "none");
  document.addEventListener("click", (event) => {
    const button = event.target.closest("table.data thead .sort");
    if (!button) return;
    const head = button.closest("th");
    const table = head.closest("table");
    const body = table.tBodies[0];
    const column = head.cellIndex;
    const numeric = head.classList.contains("num");
    const before = head.getAttribute("aria-sort");
    const down = before === "none" ? numeric : before === "ascending";
    const keyed = [...body.rows].map((row) => [row.cells[column].dataset.sort, row]);
    keyed.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      const order = numeric ? Number(a) - Number(b) : words.compare(a, b);
      return down ? -order : order;
    });
    body.append(...keyed.map(([, row]) => row));
    for (const other of all("thead th", table)) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  });

  // Long lists show a part at first.
  const pager = (items, button, size = PAGE) => {
    let limit = size;
    let matching = items;
    const draw = () => {
      const visible = new Set(matching.slice(0, limit));
      for (const item of items) item.hidden = !visible.has(item);
      if (button) button.hidden = matching.length <= limit;
    };
    if (button) button.addEventListener("click", () => {
      const next = matching[limit];
      limit += 2 * size;
      draw();
      if (next) (one("button", next) || next).focus({ preventScroll: true });
    });
    addEventListener("beforeprint", draw);
    draw();
    return (found) => { matching = found; limit = size; draw(); };
  };

  for (const input of all("input[data-filters]")) {
    const target = document.getElementById(input.dataset.filters);
    const rows = target.tBodies ? [...target.tBodies[0].rows] : [...target.children];
    const what = target.tBodies ? "rows" : "classes";
    const output = one(".shown", input.parentElement);
    const texts = rows.map((row) =>
      (target.tBodies ? row.textContent : one(".group-name", row).textContent).toLocaleLowerCase());
    const more = target.tBodies ? null : one(".more", target.parentElement);
    const show = target.tBodies
      ? (found) => { const kept = new Set(found); for (const row of rows) row.hidden = !kept.has(row); }
      : pager(rows, more, 12);
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLocaleLowerCase();
      const found = rows.filter((row, index) => texts[index].includes(wanted));
      show(found);
      output.textContent = wanted ? `${found.length} of ${rows.length} ${what}` : `${rows.length} ${what}`;
    });
  }

  // Galleries: by true class, predicted class and confidence.
  const galleries = new Map();
  for (const gallery of all(".gallery")) {
    const form = one("form", gallery);
    if (!form) continue;
    const pictures = all(".picture", gallery);
    const show = pager(pictures, one(".more", gallery));
    const shown = one(".shown", gallery);
    const everything = shown.textContent;
    const apply = () => {
      const by = all("select", form).map((select) => [select.dataset.by, select.value]);
      const bound = (name, otherwise) => {
        const input = one(`[data-bound="${name}"]`, form);
        return input ? Number(input.value) / 100 : otherwise;
      };
      const least = bound("least", 0);
      const most = bound("most", 1);
      for (const input of all("input", form)) input.nextElementSibling.textContent = `${input.value} %`;
      const found = pictures.filter(({ dataset }) =>
        by.every(([name, value]) => !value || dataset[name] === value)
        && (dataset.confidence === undefined
          || (Number(dataset.confidence) >= least && Number(dataset.confidence) <= most)));
      const filtered = by.some(([, value]) => value) || least > 0 || most < 1;
      show(found);
      one(".clear", form).hidden = !filtered;
      shown.textContent = !filtered ? everything
        : found.length === 0 ? "No image here fits. Show all to start again."
          : `${found.length} of the ${pictures.length} images here`;
      return found.length;
    };
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", apply);
    form.addEventListener("reset", () => setTimeout(apply));
    galleries.set(gallery.id, (truth, answer) => {
      form.reset();
      for (const [name, value] of [["true", truth], ["predicted", answer]]) {
        const select = one(`[data-by="${name}"]`, form);
        if (!select) continue;
        if (![...select.options].some((option) => option.value === value)) return 0;
        select.value = value;
      }
      return apply();
    });
  }

  // Confusion matrix: arrow keys move, a press shows the images.
  for (const matrix of all("table.matrix")) {
    const block = matrix.closest(".confusion");
    const readout = one(".readout", block);
    const names = all("thead th", matrix).slice(1).map((head) => head.title);
    const rows = [...matrix.tBodies[0].rows];
    const first = one("td button", matrix);
    if (first) first.tabIndex = 0;
    const place = (cell) => [rows.indexOf(cell.parentElement), cell.cellIndex - 1];
    const share = (count, total) => percent(count / total);
    const counts = new Map(all("td button", matrix).map((button) => [button, Number(button.textContent)]));
    const describe = (button) => {
      const [truth, answer] = place(button.parentElement);
      const count = counts.get(button);
      const total = Number(rows[truth].dataset.total);
      const images = count === 1 ? "image" : "images";
      return `${count} ${images} labelled ${names[truth]}, called ${names[answer]} (${share(count, total)} of that class).`;
    };
    matrix.addEventListener("focusin", (event) => {
      if (counts.has(event.target)) readout.textContent = describe(event.target);
    });
    matrix.addEventListener("pointerover", (event) => {
      if (counts.has(event.target)) readout.textContent = describe(event.target);
    });
    matrix.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      const step = steps[event.key];
      if (!step || !counts.has(event.target)) return;
      event.preventDefault();
      let [row, column] = place(event.target.parentElement);
      for (;;) {
        row += step[0];
        column += step[1];
        const cell = rows[row] && column >= 0 ? rows[row].cells[column + 1] : null;
        if (!cell) return;
        const button = one("button", cell);
        if (!button) continue;
        event.target.tabIndex = -1;
        button.tabIndex = 0;
        button.focus();
        return;
      }
    });
    matrix.addEventListener("click", (event) => {
      const button = event.target;
      if (!counts.has(button)) return;
      const [truth, answer] = place(button.parentElement);
      for (const other of counts.keys()) other.removeAttribute("aria-pressed");
      button.setAttribute("aria-pressed", "true");
      const choose = galleries.get(matrix.dataset.target);
      let text = describe(button);
      if (truth === answer) text += " These are right; the gallery shows mistakes.";
      else if (choose) {
        const found = choose(names[truth], names[answer]);
        text += found ? ` The gallery of mistakes now shows ${found} of them.` : " None of them is in the gallery of mistakes.";
        if (found) { unfold(document.getElementById(matrix.dataset.target)); document.getElementById(matrix.dataset.target).scrollIntoView(); }
      }
      readout.textContent = text;
    });
    for (const toggle of all("[data-show]", block)) {
      toggle.addEventListener("click", () => {
        for (const other of all("[data-show]", block)) other.setAttribute("aria-pressed", String(other === toggle));
        for (const [button, count] of counts) {
          const total = Number(button.closest("tr").dataset.total);
          const dense = matrix.classList.contains("dense");
          button.textContent = toggle.dataset.show === "counts" ? count
            : dense ? percent(count / total, 0).replace(" %", "") : share(count, total);
        }
      });
    }
  }

  // Ranked confusions: a press shows the images.
  for (const list of all(".confused")) {
    const readout = one(".readout", list.parentElement);
    list.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      const choose = galleries.get(list.dataset.target);
      if (!button || !choose) return;
      const gallery = document.getElementById(list.dataset.target);
      const found = choose(button.dataset.true, button.dataset.predicted);
      readout.textContent = found ? `The gallery of mistakes now shows ${found} of them.`
        : "None of them is in the gallery of mistakes.";
      if (found) { unfold(gallery); gallery.scrollIntoView(); }
    });
  }

  // Pictures and figures open larger, with all that is known of them.
  const viewer = one(".viewer");
  let series = [];
  let position = 0;
  const line = (list, term, text) => {
    if (!text) return;
    const dt = document.createElement("dt");
    const dd = document.createElement("dd");
    dt.textContent = term;
    dd.textContent = text;
    list.append(dt, dd);
  };
  const open = () => {
    const picture = series[position];
    const small = one("img", picture);
    const large = one(".viewer-body img", viewer);
    large.src = small.src;
    large.alt = small.alt;
    const { dataset } = picture;
    const isFigure = picture.classList.contains("chart");
    viewer.classList.toggle("large", isFigure);
    viewer.classList.toggle("drawing", isFigure && !picture.classList.contains("photographic"));
    const list = document.createElement("dl");
    if (isFigure) line(list, one("h3", picture).textContent, one(".reading", picture).textContent);
    line(list, "Called", dataset.predicted);
    line(list, "Labelled", dataset.true);
    line(list, "Note", one(".caption", picture)?.textContent);
    line(list, "File", dataset.path);
    const text = one(".viewer-text", viewer);
    text.replaceChildren(list);
    const probabilities = JSON.parse(dataset.probabilities || "[]");
    if (probabilities.length) line(list, "Probabilities", " ");
    for (const [name, value] of probabilities) {
      const row = document.createElement("div");
      row.className = "probability";
      const label = document.createElement("span");
      const number = document.createElement("span");
      const bar = document.createElement("progress");
      label.textContent = name;
      number.textContent = percent(value);
      bar.value = value;
      bar.setAttribute("aria-hidden", "true");
      row.append(label, number, bar);
      text.append(row);
    }
    one(".viewer-count", viewer).textContent = `${position + 1} of ${series.length}`;
    if (!viewer.open) viewer.showModal();
  };
  const move = (step) => {
    position = (position + step + series.length) % series.length;
    open();
  };
  document.addEventListener("click", (event) => {
    const opener = event.target.closest(".thumb, .enlarge");
    if (opener) {
      const picture = opener.parentElement;
      series = all(":scope > figure", picture.parentElement).filter((other) => !other.hidden);
      position = series.indexOf(picture);
      open();
    } else if (event.target === viewer || event.target.closest("[data-close]")) viewer.close();
    else if (event.target.dataset?.step) move(Number(event.target.dataset.step));
  });
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") move(-1);
    if (event.key === "ArrowRight") move(1);
  });

  for (const button of all(".copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = one("code", button.parentElement);
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch { // not allowed here: the text is at least selected
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      button.setAttribute("aria-label", button.textContent);
    });
  }
})();
