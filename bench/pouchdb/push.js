// The near side: writes COUNT values locally, then replicates them.   node push.js leveldb|memory PORT DIRECTORY COUNT
// Prints {"seconds": …, "written": …} of the replication alone. One document is one value, as a user would write it.
const [adapter, port, directory, words] = process.argv.slice(2);
const count = Number(words);
const GROUP = 1000;
const NAMES = ['cpu.percent', 'memory.used', 'memory.percent', 'disk.used', 'disk.percent', 'load.1m',
  'load.5m', 'load.15m', 'uptime', 'network.rx.bytes', 'network.tx.bytes', 'temperature'];

const PouchDB = require('pouchdb');
PouchDB.plugin(require('pouchdb-adapter-memory'));
const local = adapter === 'memory'
  ? new PouchDB('near', { adapter: 'memory' })
  : new PouchDB(`${directory}/near`);

function measurement(index) {
  const second = Math.floor(index / NAMES.length);
  return {
    _id: `bench:${String(index).padStart(9, '0')}`,
    name: `host.${NAMES[index % NAMES.length]}`,
    value: Math.round(1000 * (50 + 40 * Math.sin(index / 97))) / 1000,
    at: 1790000000 + second,
  };
}

async function main() {
  for (let first = 0; first < count; first += GROUP) {
    const size = Math.min(GROUP, count - first);
    await local.bulkDocs(Array.from({ length: size }, (_, offset) => measurement(first + offset)));
  }
  const far = new PouchDB(`http://127.0.0.1:${port}/far`);
  const started = process.hrtime.bigint();
  const done = await PouchDB.replicate(local, far, { batch_size: GROUP, batches_limit: 10 });
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  console.log(JSON.stringify({ seconds, written: done.docs_written }));
  process.exit(done.doc_write_failures ? 1 : 0);
}

main().catch((error) => { console.error(error); process.exit(1); });
