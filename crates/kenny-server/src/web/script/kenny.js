// What pages do beyond links and forms: they hear that something changed, send files with progress, and copy text.
// Everything else is htmx with its attributes. No page needs this to be read or its forms to be sent.
"use strict";

(() => {
  const body = document.body;

  // What somebody opened stays open when the page around it changes.
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) =>
    !(name === "open" && node.tagName === "DETAILS");

  // Something changed: parts of the page that listen (`hx-trigger="changed from:body"`) ask for themselves anew.
  const refresh = () => htmx.trigger(body, "changed");

  // What the page is about is gone: the page says so.
  body.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status === 404) location.reload();
  });

  // One connection per page that somebody sees: a browser has six for a server, whatever the number of tabs.
  const listen = (address) => {
    let source = null;
    let wait = 1000;
    let timer = 0;
    const say = (state) => { body.dataset.connection = state; };
    const close = () => {
      clearTimeout(timer);
      source?.close();
      source = null;
    };
    const open = () => {
      close();
      source = new EventSource(address);
      source.onopen = () => {
        wait = 1000;
        if (body.dataset.connection === "lost") refresh();
        say("open");
      };
      source.addEventListener("changed", (event) => {
        // Where a new connection goes on.
        address = address.replace(/after=-?\d+/, `after=${event.lastEventId}`);
        refresh();
      });
      source.onerror = () => {
        say("lost");
        // After some answers a browser does not try again by itself.
        if (source?.readyState === EventSource.CLOSED) {
          timer = setTimeout(() => {
            // Where somebody is signed out meanwhile, this leads to the sign-in.
            refresh();
            open();
          }, wait);
          wait = Math.min(wait * 2, 30000);
        }
      };
    };
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
    addEventListener("pagehide", close);
    addEventListener("pageshow", (event) => event.persisted && open());
    if (!document.hidden) open();
    // Times such as "3 minutes ago" go by, whether anything happens or not.
    setInterval(() => document.hidden || refresh(), 60000);
  };
  if (body.dataset.live) listen(body.dataset.live);

  // `data-copy="#id"`: copies the text of an element.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    const from = document.querySelector(button.dataset.copy);
    const words = button.textContent;
    try {
      await navigator.clipboard.writeText(from.value ?? from.textContent);
      button.textContent = "Copied";
    } catch {
      // Without HTTPS a browser does not give the clipboard away.
      getSelection().selectAllChildren(from);
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = words; }, 2500);
  });

  // A form with `data-upload` sends its file as it is, and says how far it is.
  const upload = (form, file) => {
    const status = form.querySelector("[role=status]");
    const bar = form.querySelector("progress");
    const request = new XMLHttpRequest();
    const end = (words, good) => {
      status.textContent = words;
      status.className = good ? "notice good" : "notice bad";
      bar.hidden = true;
      form.removeAttribute("aria-busy");
      form.reset();
    };
    form.setAttribute("aria-busy", "true");
    status.className = "hint";
    status.textContent = `Sending ${file.name}`;
    bar.hidden = false;
    bar.value = 0;
    request.upload.onprogress = (event) => {
      if (!event.lengthComputable) return;
      const percent = Math.floor((event.loaded * 100) / event.total);
      bar.value = percent;
      status.textContent = percent < 100 ? `Sending ${file.name}: ${percent} %` : `The server reads ${file.name}`;
    };
    request.onload = () => {
      if (request.responseURL.includes("/login")) location.reload();
      else end(request.responseText, request.status < 300);
    };
    request.onerror = () => end("The connection was lost. Nothing was added; send the file again.", false);
    request.open("POST", form.action);
    request.setRequestHeader("X-Kenny-Form", form.querySelector("[name=csrf]").value);
    request.send(file);
  };
  for (const form of document.querySelectorAll("form[data-upload]")) {
    const input = form.querySelector("input[type=file]");
    const start = (files) => {
      if (files.length > 0 && form.getAttribute("aria-busy") !== "true") upload(form, files[0]);
    };
    input.addEventListener("change", () => start(input.files));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      start(input.files);
    });
    for (const kind of ["dragenter", "dragover"]) {
      form.addEventListener(kind, (event) => {
        event.preventDefault();
        form.classList.add("over");
      });
    }
    form.addEventListener("dragleave", (event) => {
      if (!form.contains(event.relatedTarget)) form.classList.remove("over");
    });
    form.addEventListener("drop", (event) => {
      event.preventDefault();
      form.classList.remove("over");
      start(event.dataTransfer.files);
    });
  }
})();
