// Who is logged in, and the way out: a small menu in the page's bar. Nothing is shown where there is no login.

import { getJson } from "./client.js";
import { h, icon } from "./dom.js";

// The menu, or null. `place`: where it goes once it is known who is there.
export async function mountAccount(place) {
  let me;
  try { me = await getJson("/api/accounts/me"); } catch { return; } // the regions report what is wrong
  if (!me.login) return;
  const style = h("link", { rel: "stylesheet", href: "/ui/accounts.css" });
  document.head.append(style);
  const role = me.admin ? "Admin" : me.role === "member" ? "May ask and add documents" : me.role === "reader" ? "May ask" : "No workspace yet";
  const menu = h("details", { class: "lec-account" },
    h("summary", { "aria-label": `Logged in as ${me.name}`, title: me.name }, icon("person"), h("span", {}, me.name)),
    h("div", { class: "lec-account-menu" }, h("p", {}, role),
      me.admin ? h("a", { href: "/accounts" }, "Users and keys") : null,
      h("form", { method: "post", action: "/logout" }, h("button", { type: "submit" }, "Log out"))));
  document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
  menu.addEventListener("keydown", (event) => { if (event.key === "Escape") { menu.open = false; menu.firstChild.focus(); } });
  place.append(menu);
}
