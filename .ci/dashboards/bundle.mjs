// Bundles page.jsx and all that it needs into one file.
//
//   node bundle.mjs FOLDER
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

buildSync({
  entryPoints: [join(dirname(fileURLToPath(import.meta.url)), 'page.jsx')], outdir: process.argv[2], bundle: true, minify: true, jsx: 'automatic', logLevel: 'error',
  define: { 'process.env.NODE_ENV': '"production"' }, loader: { '.svg': 'dataurl', '.woff2': 'empty', '.ttf': 'empty' },
});
