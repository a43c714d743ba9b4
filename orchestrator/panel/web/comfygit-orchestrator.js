// The page's side of the panel: a tab with the workspace's environments, and what becomes of a switch between them.
// What comes from elsewhere (names, messages, log lines) is only ever shown as text, never as HTML.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const POLL_MS = 1000;
const ENDED = new Set(["complete", "rolled_back", "critical_failure", "aborted"]);
const STYLE = `
.cgo { padding: 12px; display: flex; flex-direction: column; gap: 10px; font-size: 13px; }
.cgo h3 { margin: 0; font-size: 14px; }
.cgo ul { list-style: none; margin: 0; padding: 0; display: flex; flex-direction: column; gap: 6px; }
.cgo li { display: flex; align-items: center; gap: 8px; padding: 6px 8px; border: 1px solid var(--border-color, #555); border-radius: 6px; }
.cgo li span { flex: 1; overflow: hidden; text-overflow: ellipsis; }
.cgo button { padding: 4px 10px; border-radius: 6px; border: 1px solid var(--border-color, #555); cursor: pointer;
  background: var(--comfy-input-bg, #333); color: var(--input-text, #ddd); }
.cgo button:disabled { opacity: 0.5; cursor: default; }
.cgo progress { width: 100%; }
.cgo pre { margin: 0; max-height: 40vh; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 11px; opacity: 0.85; }
.cgo .bad { color: var(--error-text, #f77); } .cgo .dim { opacity: 0.7; }
`;

function make(tag, text, attributes = {}) {
  const element = Object.assign(document.createElement(tag), attributes);
  if (text !== undefined) element.textContent = text;
  return element;
}

async function read(path) {
  const answer = await api.fetchApi(path, { cache: "no-store" });
  const document = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(document.message || document.error || `HTTP ${answer.status}`);
  return document;
}

async function act(path, body = {}) {
  const answer = await api.fetchApi(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const document = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(document.message || document.error || `HTTP ${answer.status}`);
  return document;
}

// One switch, from the wish to its end: asks whoever still answers, the orchestrator itself first.
class Switch {
  constructor(target, show) {
    Object.assign(this, { target, show, observer: null, progress: 10, logs: [], timer: null });
  }

  async begin() {
    this.show({ state: "preparing", message: `Asking for ${this.target}`, progress: this.progress, logs: [] });
    this.observer = (await act("/v2/comfygit/switch_environment", { target_env: this.target })).observer;
    this.timer = setInterval(() => this.look(), POLL_MS);
  }

  async look() {
    const status = await this.status();
    if (!status || status.target_env !== this.target || this.timer === null) return;
    this.progress = Math.max(this.progress, status.progress || 0); // it never goes back
    this.logs = (await this.observed("logs_url"))?.logs || status.logs || this.logs;
    if (ENDED.has(status.state)) this.end();
    this.show({ ...status, progress: this.progress, logs: this.logs });
  }

  async status() {
    const observed = await this.observed("status_url");
    if (observed && observed.target_env) return observed;
    return read("/v2/comfygit/switch_status").catch(() => null);
  }

  async observed(which) {
    const url = this.observer && this.observer[which];
    if (!url) return null;
    try {
      const answer = await fetch(url, { cache: "no-store" });
      return answer.ok ? await answer.json() : null;
    } catch {
      return null; // it may be away, too
    }
  }

  end() {
    clearInterval(this.timer);
    this.timer = null;
  }
}

class Tab {
  constructor(root) {
    this.root = root;
    this.root.replaceChildren();
    this.root.classList.add("cgo");
    this.list = make("ul");
    this.course = make("div");
    this.buttons = make("div");
    this.root.append(make("style", STYLE), make("h3", "Environments"), this.list, this.buttons, this.course);
    this.buttons.append(
      this.button("Restart", () => act("/v2/comfygit/orchestrator/restart")),
      " ",
      this.button("Stop", () => confirm("Stop ComfyUI?") && act("/v2/comfygit/stop")),
    );
    this.refresh();
  }

  button(label, action) {
    const button = make("button", label);
    button.onclick = async () => {
      button.disabled = true;
      try {
        await action();
      } catch (error) {
        this.complain(error);
      } finally {
        button.disabled = false;
      }
    };
    return button;
  }

  complain(error) {
    this.course.replaceChildren(make("p", String(error.message || error), { className: "bad" }));
  }

  async refresh() {
    try {
      const found = await read("/v2/comfygit/environments");
      this.list.replaceChildren(...found.environments.map((one) => this.row(one, found.is_managed)));
      if (!found.environments.length) this.list.append(make("li", "There is no ComfyGit workspace here.", { className: "dim" }));
    } catch (error) {
      this.complain(error);
    }
  }

  row(environment, managed) {
    const row = make("li");
    row.append(make("span", environment.name, { title: environment.path }));
    if (environment.is_current) row.append(make("em", "serves", { className: "dim" }));
    else if (managed) row.append(this.button("Switch", () => this.switchTo(environment.name)));
    return row;
  }

  async switchTo(name) {
    if (!confirm(`Switch to ${name}? The page is away until it answers.`)) return;
    this.list.inert = true; // one switch at a time
    try {
      await new Switch(name, (status) => this.shown(status)).begin();
    } catch (error) {
      this.list.inert = false;
      throw error;
    }
  }

  shown(status) {
    const parts = [make("progress", undefined, { max: 100, value: status.progress }), make("div", `${status.state}: ${status.message}`)];
    if (status.error) parts.push(make("div", status.error, { className: "bad" }));
    if (status.recovery_command) parts.push(make("pre", status.recovery_command));
    if (status.state === "complete") parts.push(this.button("Reload the page", () => location.reload()));
    if (ENDED.has(status.state)) {
      this.list.inert = false;
      setTimeout(() => this.refresh(), POLL_MS);
    }
    parts.push(make("pre", status.logs.map((entry) => entry.message).join("\n")));
    this.course.replaceChildren(...parts);
    const log = this.course.lastChild;
    log.scrollTop = log.scrollHeight;
  }
}

app.registerExtension({
  name: "comfygit.orchestrator",
  async setup() {
    app.extensionManager.registerSidebarTab({
      id: "comfygit-orchestrator",
      icon: "pi pi-server",
      title: "Environments",
      tooltip: "ComfyGit environments",
      type: "custom",
      render: (root) => new Tab(root),
    });
  },
});
