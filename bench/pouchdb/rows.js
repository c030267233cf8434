// The near side of the sync bench: documents of FILE, one a line.   node rows.js leveldb|memory PORT DIRECTORY FILE
// Prints one JSON line a step: {"step", "seconds", "rss"}; seconds of a repeated step is a list. Between steps all is silent for a while.
const [adapter, port, directory, file] = process.argv.slice(2);
const GROUP = 1000;
const TIMES = 30;
const fs = require('fs');

const PouchDB = require('pouchdb');
PouchDB.plugin(require('pouchdb-adapter-memory'));
const open = (name) => (adapter === 'memory'
  ? new PouchDB(name, { adapter: 'memory' })
  : new PouchDB(`${directory}/${name}`));
const local = open('near');
const back = open('back');
const far = new PouchDB(`http://127.0.0.1:${port}/far`);
const options = { batch_size: GROUP, batches_limit: 10 };
const push = () => PouchDB.replicate(local, far, options);
const pull = () => PouchDB.replicate(far, back, options);

const silence = () => new Promise((resolve) => { setTimeout(resolve, 300); });

async function timed(act) {
  const started = process.hrtime.bigint();
  const done = await act();
  if (done.doc_write_failures) throw new Error(`${done.doc_write_failures} documents were not written`);
  return Number(process.hrtime.bigint() - started) / 1e9;
}

async function tell(step, seconds) {
  await silence();
  console.log(JSON.stringify({ step, seconds, rss: process.memoryUsage().rss }));
  await silence();
}

async function repeated(step, prepare, act) {
  const seconds = [];
  for (let round = 0; round < TIMES; round += 1) {
    await prepare(round);
    seconds.push(await timed(act));
  }
  await tell(step, seconds);
}

async function change(database, id, round) {
  const held = await database.get(id);
  await database.put({ ...held, status: `edited ${round}` });
}

async function main() {
  const documents = fs.readFileSync(file, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line));
  for (let first = 0; first < documents.length; first += GROUP) {
    await local.bulkDocs(documents.slice(first, first + GROUP));
  }
  await far.info();
  await tell('ready', 0);
  await tell('push', await timed(push));
  await tell('pull', await timed(pull));
  const id = documents[5]._id;
  await repeated('nothing', async () => {}, push);
  await repeated('change pushed', (round) => change(local, id, round), push);
  await repeated('change pulled', (round) => change(far, id, round), pull);
  const words = Array.from({ length: 1000 }, (_, index) => `${index} ${Math.random().toString(36).repeat(9).slice(0, 95)}`);
  await local.put({ _id: 'document', title: 'one', words });
  await push();
  await local.put({ ...(await local.get('document')), title: 'another' });
  await tell('document ready', 0);
  await tell('document', await timed(push));
  process.exit(0);
}

main().catch((error) => { console.error(error); process.exit(1); });
