// What the studio's components share, as the module "studio"; a test in a browser calls these functions.
export * from "./align.js";
export * from "./ask.js";
export * from "./curves.js";
export * from "./pixels.js";
export * from "./windows.js";
