// Takes the compiled pages out of the Go file that an older Alertmanager embeds (pages.go), and lays them out as this one
// embeds them: below assets/, each as .gz and .br, fonts that are compressed already as they are.
const crypto = require("crypto");
const fs = require("fs");
const path = require("path");
const zlib = require("zlib");

const [source, target] = process.argv.slice(2);
const AS_IT_IS = [".woff", ".woff2"];
const SERVED = [".css", ".eot", ".html", ".ico", ".js", ".svg", ".ttf", ...AS_IT_IS];
const ENTRY = /^\t\t"\/static\/([^"]+)": &vfsgen.{1,2}(Compressed)?FileInfo\{[^}]*?ontent: +\[\]byte\("((?:[^"\\]|\\.)*)"\)/gm;

const bytes = (literal) =>
  Buffer.from(literal.replace(/\\x([0-9a-f]{2})/g, (_, code) => String.fromCharCode(parseInt(code, 16))), "latin1");

const text = fs.readFileSync(source, "utf8");
// Browsers keep what is below assets/ for a year: another version has another address.
const version = crypto.createHash("sha256").update(text).digest("hex").slice(0, 8);
const mended = {
  "index.html": (page) => page.replace('src="script.js"', `src="assets/script.js?${version}"`),
  "script.js": (page) => page.replaceAll('"lib/', '"assets/lib/'),
};

let found = 0;
for (const [, name, compressed, literal] of text.matchAll(ENTRY)) {
  const kind = path.extname(name);
  if (!SERVED.includes(kind)) continue;
  let content = compressed ? zlib.gunzipSync(bytes(literal)) : bytes(literal);
  if (mended[name]) {
    const before = content.toString("utf8");
    const after = mended[name](before);
    if (after === before) throw new Error(`${name} does not hold what has to be changed`);
    content = Buffer.from(after);
  }
  const file = path.join(target, ["index.html", "favicon.ico"].includes(name) ? name : `assets/${name}`);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  if (AS_IT_IS.includes(kind)) fs.writeFileSync(file, content);
  else {
    fs.writeFileSync(`${file}.gz`, zlib.gzipSync(content, { level: 9 }));
    fs.writeFileSync(`${file}.br`, zlib.brotliCompressSync(content));
  }
  found += 1;
}
if (found < 10) throw new Error(`${source}: only ${found} files`);
