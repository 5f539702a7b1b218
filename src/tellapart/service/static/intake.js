// How pictures come in: chosen, dropped, pasted, or from the camera.

const one = (id) => document.getElementById(id);

/** Files of what was dropped, those of folders with their paths: [{ file, name }]. */
const dropped = async (transfer) => {
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      const file = await new Promise((done, failed) => { entry.file(done, failed); });
      found.push({ file, name: entry.fullPath.replace(/^\//, "") });
      return;
    }
    const reader = entry.createReader();
    for (;;) { // it gives a hundred at a time
      const part = await new Promise((done, failed) => { reader.readEntries(done, failed); });
      if (!part.length) return;
      for (const each of part) if (!each.name.startsWith(".")) await walk(each);
    }
  };
  // All entries first: what was dropped is gone once this function has waited.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, name: file.name }));
  for (const entry of entries) await walk(entry);
  return found.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
};

/** Listen for pictures. take: told of [{ file, name }]; note: told what is wrong, "" when not. */
export const listen = ({ take, note }) => {
  const receive = (given) => { note(""); take(given); };

  for (const id of ["files", "shot"]) {
    one(id).addEventListener("change", (event) => {
      const given = [...event.target.files].map((file) => ({ file, name: file.name }));
      event.target.value = ""; // so that the same one can be chosen again
      if (given.length) receive(given);
    });
  }
  one("choose").addEventListener("click", () => one("files").click());

  const drop = one("drop");
  let inside = 0;
  const over = (step) => {
    inside = step ? inside + step : 0;
    drop.classList.toggle("over", inside > 0);
  };
  addEventListener("dragenter", () => over(1));
  addEventListener("dragleave", () => over(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault(); // else the browser would leave the page for the picture
    over(0);
    const given = await dropped(event.dataTransfer).catch(() => null);
    if (!given) note("What was dropped cannot be read.");
    else if (!given.length) note("That was no file. Save the picture first, then drop the file; or copy and paste the picture itself.");
    else receive(given);
  });

  let pasted = 0;
  addEventListener("paste", (event) => {
    if (event.target.closest?.("input, select, textarea")) return;
    const files = [...event.clipboardData.files];
    if (!files.length) {
      note("The clipboard holds no picture. Copy a picture itself, not its address.");
      return;
    }
    event.preventDefault();
    receive(files.map((file) => {
      pasted += 1;
      // A browser calls every picture from the clipboard "image.png".
      const extension = file.name.includes(".") ? file.name.slice(file.name.lastIndexOf(".")) : "";
      return { file, name: files.length === 1 && /^image\.\w+$/.test(file.name) ? `pasted ${pasted}${extension}` : file.name };
    }));
  });
  camera(receive, note);
};

/** The camera: a phone's own where there is one, else a live view where the browser allows it. */
const camera = (receive, note) => {
  const button = one("photograph");
  const phone = matchMedia("(pointer: coarse)").matches;
  const live = navigator.mediaDevices?.getUserMedia; // only over https, or from this machine
  button.hidden = !phone && !live;
  const dialog = one("camera");
  const video = one("video");
  let stream = null;
  let taken = 0;
  const stop = () => {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    video.srcObject = null;
  };
  button.addEventListener("click", async () => {
    note("");
    if (phone) {
      one("shot").click();
      return;
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      note(error.name === "NotAllowedError" ? "The browser does not let this page use the camera."
        : "No camera was found.");
      return;
    }
    video.srcObject = stream;
    one("camera-note").textContent = "";
    dialog.showModal();
  });
  one("take").addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    if (!canvas.width) {
      one("camera-note").textContent = "The camera is not ready yet.";
      return;
    }
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => {
      taken += 1;
      dialog.close();
      receive([{ file: blob, name: `camera ${taken}.png` }]);
    }, "image/png"); // without loss: what is classified is what was seen
  });
  one("camera-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", stop);
};
