// Fastify with better-sqlite3: schemas for what comes in and goes out, prepared statements, a synchronous driver.
const { INSERT, NAMES, prepare, record } = require('./records.cjs');

const database = prepare(process.argv[3]);
const read = database.prepare(`SELECT ${NAMES.join(', ')} FROM items WHERE id = ?`);
const list = database.prepare(`SELECT ${NAMES.join(', ')} FROM items ORDER BY id LIMIT ?`);
const insert = database.prepare(INSERT);

const given = {
  title: { type: 'string' }, notes: { type: 'string' },
  status: { enum: ['todo', 'doing', 'done'], type: 'string', default: 'todo' },
  done: { type: 'boolean', default: false }, priority: { type: 'integer', default: 0 }, owner: { type: 'integer' },
};
const stored = {
  type: 'object',
  properties: {
    id: { type: 'string' }, version: { type: 'integer' },
    created_at: { type: 'string' }, updated_at: { type: 'string' }, ...given,
  },
};
const body = { type: 'object', properties: given, required: ['title', 'notes', 'owner'] };
const shown = (item) => ({ ...item, done: item.done === 1 });

const app = require('fastify')();
const limit = { type: 'integer', minimum: 1, maximum: 200, default: 50 };
app.get('/items', {
  schema: {
    querystring: { type: 'object', properties: { limit } }, response: { 200: { type: 'array', items: stored } },
  },
}, async (request) => list.all(request.query.limit).map(shown));
app.get('/items/:id', { schema: { response: { 200: stored } } }, async (request, reply) => {
  const item = read.get(request.params.id);
  return item ? shown(item) : reply.code(404).send({ message: 'Item not found' });
});
app.post('/items', { schema: { body, response: { 201: stored } } }, async (request, reply) => {
  const item = record(request.body);
  insert.run({ ...item, done: Number(item.done) });
  return reply.code(201).send(item);
});
app.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 2048 });
