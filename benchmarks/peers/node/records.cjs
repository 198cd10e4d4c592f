// The one kind of record: keys that sort by time (UUID version 7), the rows that every peer begins with.
const { randomBytes } = require('node:crypto');

const ROWS = 20_000;

function orderedUuid(milliseconds, rest) {
  const bytes = Buffer.alloc(16);
  bytes.writeUIntBE(milliseconds, 0, 6);
  rest.copy(bytes, 6);
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

const newKey = () => orderedUuid(Date.now(), randomBytes(10));

// The same key and fields as rows.key() and rows.body() of the benchmarks.
function row(index) {
  const rest = Buffer.alloc(10);
  rest.writeUInt32BE(index, 6);
  const status = ['todo', 'doing', 'done'][index % 3];
  const now = new Date().toISOString();
  return {
    id: orderedUuid(1_763_000_000_000 + index, rest), version: 1, created_at: now, updated_at: now,
    title: `Task number ${String(index).padStart(6, '0')}`,
    notes: `Row ${index} of the benchmark: a line of plain text of about eighty bytes, "quoted".`,
    status, done: status === 'done', priority: index % 10, owner: index % 200,
  };
}

function record(data) {
  const now = new Date().toISOString();
  return { id: newKey(), version: 1, created_at: now, updated_at: now, ...data };
}

// The request's body as JSON, for servers that bring no router.
function posted(request) {
  return new Promise((resolve) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => resolve(JSON.parse(Buffer.concat(parts))));
  });
}

// An HTTP server on which `POST /items` tells a record to all by `publish`.
function publishing(publish) {
  return require('node:http').createServer(async (request, response) => {
    if (request.method !== 'POST') return response.writeHead(404, { 'Content-Length': 0 }).end();
    const item = record(await posted(request));
    publish(item);
    const text = JSON.stringify(item);
    response.writeHead(201, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) });
    response.end(text);
  });
}

const TABLE = `CREATE TABLE IF NOT EXISTS items (
  id TEXT PRIMARY KEY, version INTEGER NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
  title TEXT NOT NULL, notes TEXT NOT NULL, status TEXT NOT NULL, done INTEGER NOT NULL,
  priority INTEGER NOT NULL, owner INTEGER NOT NULL) WITHOUT ROWID`;
const NAMES = ['id', 'version', 'created_at', 'updated_at', 'title', 'notes', 'status', 'done', 'priority', 'owner'];
const INSERT = `INSERT INTO items (${NAMES.join(', ')}) VALUES (${NAMES.map((name) => '@' + name).join(', ')})`;

// Make the table with its rows; the durability of every peer.
function prepare(file) {
  const database = require('better-sqlite3')(file);
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL');
  database.exec(TABLE);
  const insert = database.prepare(INSERT);
  database.transaction(() => {
    for (let index = 0; index < ROWS; index++) {
      const item = row(index);
      insert.run({ ...item, done: Number(item.done) });
    }
  })();
  return database;
}

module.exports = { INSERT, NAMES, newKey, prepare, publishing, record };
