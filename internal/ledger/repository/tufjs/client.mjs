// Downloads one target with tuf-js, as a stranger's product would:
//   node client.mjs ROOT URL CACHE TARGET OUT
// ROOT is trusted_root.json, CACHE a folder that is kept between runs. Prints
// what tuf-js refuses, and then ends with exit code 1.
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import tuf from 'tuf-js';

const [root, url, cache, target, out] = process.argv.slice(2);
mkdirSync(join(cache, 'targets'), { recursive: true });
const trusted = join(cache, 'root.json');
if (!existsSync(trusted)) copyFileSync(root, trusted);
try {
  const updater = new tuf.Updater({ metadataDir: cache, metadataBaseUrl: url + 'metadata', targetDir: join(cache, 'targets'), targetBaseUrl: url + 'targets' });
  await updater.refresh();
  const info = await updater.getTargetInfo(target);
  if (!info) throw new Error(`no target ${target}`);
  await updater.downloadTarget(info, out);
} catch (e) {
  console.error(`${e.name}: ${e.message}`);
  process.exit(1);
}
