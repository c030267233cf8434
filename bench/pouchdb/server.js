// The far side: express-pouchdb on a loopback port.   node server.js leveldb|memory PORT DIRECTORY
const [adapter, port, directory] = process.argv.slice(2);
const express = require('express');
const Base = require('pouchdb');

Base.plugin(require('pouchdb-adapter-memory'));
const PouchDB = adapter === 'memory'
  ? Base.defaults({ adapter: 'memory' })
  : Base.defaults({ prefix: `${directory}/` });

const routes = require('express-pouchdb')(PouchDB, {
  mode: 'minimumForPouchDB',
  inMemoryConfig: true,
  logPath: `${directory}/log.txt`,
});
express().use('/', routes).listen(Number(port), '127.0.0.1', () => console.log('ready'));
