// Run replay.py under Pyodide: node replay.mjs PYODIDE SOURCE PACKAGES TESTS FOLDER, folders all.
import path from "node:path";
import { pathToFileURL } from "node:url";

const [pyodide, ...folders] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(path.join(pyodide, "node_modules/pyodide/pyodide.mjs")));
const python = await loadPyodide();
["/source", "/packages", "/tests", "/crash"].forEach((mount, index) => python.mountNodeFS(mount, folders[index]));
python.runPython(`
import runpy, sys
sys.dont_write_bytecode = True
sys.path[:0] = ["/source", "/packages"]
sys.argv = ["replay.py", "/crash"]
runpy.run_path("/tests/replay.py", run_name="__main__")
`);
