// Corrects the digits of a sheet by keyboard, and exports labels. Works without a network.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const classes = new Set(data.classes);
  const status = document.getElementById("status");
  const context = document.getElementById("context");
  const fields = [...document.querySelectorAll(".digit input")];
  const controls = [...document.querySelectorAll("article input")]; // in order, boxes included
  const pages = [...document.querySelectorAll("article")].map((article, place) => ({
    place,
    fields: [...article.querySelectorAll(".digit input")],
    lines: [...article.querySelectorAll(".line")].map((line) => [...line.querySelectorAll("input")]),
    box: article.querySelector(".right input"),
    path: data.paths[place],
  }));
  const pageOf = new Map(pages.flatMap((page) => [...page.fields, page.box].map((each) => [each, page])));
  const read = new Map(fields.map((field) => [field, field.defaultValue]));
  const isDoubtful = (field) => field.parentElement.classList.contains("doubtful");
  const stateOf = (control) =>
    control.type === "checkbox" ? control.checked : { value: control.dataset.value, seen: "seen" in control.dataset };
  const history = [];
  let appends = false;

  // --- State -------------------------------------------------------------------------------------

  function show(control, state) {
    if (control.type === "checkbox") {
      control.checked = state;
      control.closest("article").classList.toggle("done", state);
      return;
    }
    control.value = control.dataset.value = state.value;
    if (state.seen) control.dataset.seen = "";
    else delete control.dataset.seen;
    control.parentElement.classList.toggle("corrected", state.value !== read.get(control));
    control.parentElement.classList.toggle("seen", state.seen);
  }

  // Change some controls in one step of the history. A page whose digit gets another value is no longer right.
  function change(...changes) {
    const isNew = ([control, state]) => JSON.stringify(stateOf(control)) !== JSON.stringify(state);
    const edited = changes.filter(([control, { value }]) => value !== undefined && value !== control.dataset.value);
    const boxes = edited.map(([control]) => pageOf.get(control).box).filter((box) => box.checked);
    const step = [...changes.filter(isNew), ...boxes.map((box) => [box, false])];
    if (!step.length) return;
    history.push(step.map(([control]) => [control, stateOf(control)]));
    for (const each of step) show(...each);
    report(boxes.length ? "The page is no longer marked as right. " : "");
    save();
  }

  function undo() {
    const step = history.pop();
    if (!step) return say("There is nothing to undo.");
    for (const each of step) show(...each);
    step[0][0].focus();
    report("Undone. ");
    save();
  }

  function report(before = "") {
    const corrected = fields.filter((field) => field.dataset.value !== read.get(field)).length;
    const left = fields.filter((field) => isDoubtful(field) && !("seen" in field.dataset)).length;
    const right = pages.filter((page) => page.box.checked).length;
    say(`${before}Doubtful digits left: ${left}. Corrected: ${corrected}. Pages right: ${right} of ${pages.length}.`);
  }

  function say(sentence) {
    status.textContent = sentence;
  }

  // --- Memory of this browser, where it has one for files ---------------------------------------

  const key = `digitscope sheet ${data.id}`;

  function save() {
    const states = {};
    controls.forEach((control, place) => {
      const state = stateOf(control);
      const isNew = control.type === "checkbox" ? state : state.seen || state.value !== read.get(control);
      if (isNew) states[place] = state;
    });
    try {
      localStorage.setItem(key, JSON.stringify(states));
    } catch {
      unsaved = true;
    }
  }

  function restore() {
    try {
      const states = JSON.parse(localStorage.getItem(key) ?? "{}");
      for (const [place, state] of Object.entries(states)) show(controls[place], state);
      if (Object.keys(states).length) return report("Your corrections of last time are here. ");
    } catch {
      // A browser without this memory, or with one that another program has changed.
    }
    report();
  }

  let unsaved = false;
  addEventListener("beforeunload", (event) => {
    if (unsaved) event.preventDefault();
  });

  // --- Moving ------------------------------------------------------------------------------------

  function move(steps) {
    controls[controls.indexOf(document.activeElement) + steps]?.focus();
  }

  function moveLine(steps) {
    const lines = pages.flatMap((page) => [...page.lines, [page.box]]);
    const target = lines[lines.findIndex((line) => line.includes(document.activeElement)) + steps];
    const middle = (control) => {
      const { left, right } = control.getBoundingClientRect();
      return (left + right) / 2;
    };
    const from = middle(document.activeElement);
    const distance = (control) => Math.abs(middle(control) - from);
    target?.reduce((best, each) => (distance(each) < distance(best) ? each : best)).focus();
  }

  // The next doubtful digit that nobody has confirmed, or the end of a page that is not right yet.
  function next() {
    const isOpen = (control) =>
      control.type === "checkbox" ? !control.checked : isDoubtful(control) && !("seen" in control.dataset);
    const at = controls.indexOf(document.activeElement);
    const target = controls.slice(at + 1).find(isOpen) ?? controls.find(isOpen);
    if (target) target.focus();
    else say("Every page is right. Export the labels.");
  }

  function accept(control) {
    const page = pageOf.get(control);
    if (control.type === "checkbox") change([control, true]);
    else {
      const confirmed = [control, { ...stateOf(control), seen: true }];
      change(...(page.fields.length === 1 ? [confirmed, [page.box, true]] : [confirmed]));
    }
    next();
  }

  function showContext(control) {
    const page = pageOf.get(control);
    const field = control.type === "checkbox" ? page.fields[0] : control;
    const [x, y, width, height] = field.dataset.box.split(" ").map(Number);
    const [pageWidth, pageHeight] = field.dataset.page.split(" ").map(Number);
    const whole = Math.max(pageHeight, pageWidth * 0.75);
    const isWhole = control.type === "checkbox" && page.fields.length > 1;
    const viewHeight = isWhole ? whole : Math.min(Math.max(5 * height, 2 * width), whole);
    const viewWidth = viewHeight / 0.75;
    const clamp = (value, most) => (most < 0 ? most / 2 : Math.min(Math.max(value, 0), most));
    const left = clamp(x + width / 2 - viewWidth / 2, pageWidth - viewWidth);
    const top = clamp(y + height / 2 - viewHeight / 2, pageHeight - viewHeight);
    context.setAttribute("viewBox", `${left} ${top} ${viewWidth} ${viewHeight}`);
    context.querySelector("use").setAttribute("href", `#i${page.place}`);
    const margin = 0.12 * height;
    const frame = { x: x - margin, y: y - margin, width: width + 2 * margin, height: height + 2 * margin };
    context.classList.toggle("whole", isWhole);
    for (const [name, value] of Object.entries(frame)) context.querySelector("rect").setAttribute(name, value);
  }

  document.querySelector("main").addEventListener("focusin", ({ target }) => {
    if (!pageOf.has(target)) return;
    appends = false;
    if (target.type !== "checkbox") target.select();
    showContext(target);
    target.scrollIntoView({ block: "nearest" });
  });

  // --- Keys --------------------------------------------------------------------------------------

  const moves = {
    ArrowLeft: () => move(-1),
    ArrowRight: () => move(1),
    ArrowUp: () => moveLine(-1),
    ArrowDown: () => moveLine(1),
  };

  document.querySelector("main").addEventListener("keydown", (event) => {
    const control = event.target;
    if (!pageOf.has(control) || event.altKey || event.isComposing) return;
    if (event.ctrlKey || event.metaKey) return;
    const isField = control.type !== "checkbox";
    const erases = isField && (event.key === "Delete" || event.key === "Backspace");
    if (event.key in moves) moves[event.key]();
    else if (event.key === "Enter") accept(control);
    else if (erases) setValue(control, "");
    else if (isField && event.key === " " && !classes.has(" ")) {
      const { box } = pageOf.get(control);
      change([box, !box.checked]);
    } else if (isField && event.key === "+" && !classes.has("+")) {
      appends = true;
      control.setSelectionRange(control.value.length, control.value.length);
      say("Type the digit that follows.");
    } else return;
    event.preventDefault();
  });

  addEventListener("keydown", (event) => {
    if (event.key === "Enter" && document.activeElement === document.body) {
      event.preventDefault();
      next();
    }
    if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") {
      event.preventDefault();
      undo();
    }
  });

  function setValue(field, value) {
    change([field, { value, seen: true }]);
    field.select();
  }

  // What is typed, pasted or dictated; the value before it is in the data of the field.
  document.querySelector("main").addEventListener("input", ({ target, data: added }) => {
    if (target.type === "checkbox") {
      const { checked } = target;
      target.checked = !checked;
      change([target, checked]);
      return;
    }
    const typed = [...(appends || !added ? target.value : added)];
    const known = typed.filter((char) => classes.has(char));
    if (known.length < typed.length) {
      target.value = target.dataset.value;
      target.select();
      say(`Only ${data.classes.join(" ")} can be typed; Delete says that this is no digit.`);
    } else setValue(target, known.join(""));
    appends = false;
  });

  // --- Export ------------------------------------------------------------------------------------

  // Bytes of a text; a byte of a file name that is no text is a lone surrogate, as Python has it.
  function bytesOf(string) {
    const parts = string.split(/([\udc80-\udcff])/u); // "u": halves of whole characters do not match
    const encoder = new TextEncoder();
    return parts.map((part, place) => (place % 2 ? Uint8Array.of(part.charCodeAt(0) - 0xdc00) : encoder.encode(part)));
  }

  const cell = (value) => (/^$|^[\w./-]+$/.test(value) ? value : `"${value.replaceAll('"', '""')}"`);

  function csv(names, rows) {
    const lines = [names, ...rows.map((row) => names.map((name) => row[name] ?? ""))];
    return bytesOf(lines.map((line) => `${line.map(cell).join(",")}\r\n`).join(""));
  }

  function labels() {
    const done = pages.filter((page) => page.box.checked);
    const rows = done.map((page) => {
      const text = page.lines.map((line) => line.map((field) => field.dataset.value).join("")).filter(Boolean).join("\n");
      const isOne = page.fields.length === 1 && [...text].length === 1;
      return isOne ? { path: page.path, label: text } : { path: page.path, text };
    });
    return rows.filter((row) => row.label || row.text);
  }

  function download(name, parts, type) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(parts, { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  function offer(name, count, what, parts, type) {
    if (!count) return say("No page is marked as right yet, so there is nothing to export.");
    download(name, parts, type);
    const done = pages.filter((page) => page.box.checked).length;
    const empty = done - labels().length;
    say(`${name} has ${count} ${what} of ${done - empty} pages.${empty ? ` Pages without a digit are left out: ${empty}.` : ""}`);
  }

  function pictures() {
    const rows = [];
    const files = [];
    fields.forEach((field, place) => {
      const label = field.dataset.value;
      if (!pageOf.get(field).box.checked || [...label].length !== 1) return;
      const path = `digits/${String(place + 1).padStart(4, "0")}.png`;
      rows.push({ path, label, source: pageOf.get(field).path });
      files.push([path, Uint8Array.from(atob(data.pixels[place]), (char) => char.charCodeAt(0))]);
    });
    return { rows, files };
  }

  const handlers = {
    undo,
    csv() {
      const rows = labels();
      offer("labels.csv", rows.length, "labels", csv(["path", "label", "text"], rows), "text/csv");
    },
    jsonl() {
      const rows = labels();
      const lines = rows.map((row) => `${JSON.stringify(row)}\n`);
      offer("labels.jsonl", rows.length, "labels", lines, "application/jsonl");
    },
    zip() {
      const { rows, files } = pictures();
      const table = new Uint8Array(csv(["path", "label", "source"], rows).flatMap((part) => [...part]));
      offer("digits.zip", rows.length, "pictures", zip([["labels.csv", table], ...files]), "application/zip");
    },
  };
  for (const [name, handler] of Object.entries(handlers)) {
    document.getElementById(name).addEventListener("click", handler);
  }

  // --- ZIP without compression (PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16) ---------

  function checksum(bytes) {
    let crc = ~0;
    for (const byte of bytes) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc >>> 0;
  }

  // Numbers of 2 or 4 bytes, the lowest first: [bytes, value], ...
  function numbers(...entries) {
    const view = new DataView(new ArrayBuffer(entries.reduce((sum, [size]) => sum + size, 0)));
    let at = 0;
    for (const [size, value] of entries) {
      if (size === 2) view.setUint16(at, value, true);
      else view.setUint32(at, value, true);
      at += size;
    }
    return new Uint8Array(view.buffer);
  }

  function zip(files) {
    const parts = [];
    const directory = [];
    let at = 0;
    const dated = [[2, 0], [2, 0x21]]; // midnight of 1 January 1980, where the format begins
    for (const [path, bytes] of files) {
      const name = new TextEncoder().encode(path);
      const sizes = [[4, checksum(bytes)], [4, bytes.length], [4, bytes.length], [2, name.length], [2, 0]];
      const head = numbers([4, 0x04034b50], [2, 20], [2, 0x800], [2, 0], ...dated, ...sizes);
      parts.push(head, name, bytes);
      const entry = [[4, 0x02014b50], [2, 20], [2, 20], [2, 0x800], [2, 0], ...dated, ...sizes];
      directory.push(numbers(...entry, [2, 0], [2, 0], [2, 0], [4, 0], [4, at]), name);
      at += head.length + name.length + bytes.length;
    }
    const size = directory.reduce((sum, part) => sum + part.length, 0);
    const counts = [[2, files.length], [2, files.length], [4, size], [4, at], [2, 0]];
    return [...parts, ...directory, numbers([4, 0x06054b50], [2, 0], [2, 0], ...counts)];
  }

  for (const field of fields) field.dataset.value = field.defaultValue;
  for (const control of controls) if (control.type === "checkbox") control.checked = false;
  if (matchMedia("(max-width: 56rem)").matches) document.querySelector("details").open = false;
  showContext(fields[0]);
  restore();
})();
