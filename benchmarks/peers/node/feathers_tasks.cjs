// Feathers 5 as `feathers generate` makes it, and as its guide shows related records: a virtual property whose resolver
// asks the other service.
const { feathers } = require('@feathersjs/feathers');
const { KnexService } = require('@feathersjs/knex');
const { koa, rest, bodyParser, errorHandler, parseAuthentication } = require('@feathersjs/koa');
const { Ajv, hooks, resolve, virtual } = require('@feathersjs/schema');
const { getValidator, querySyntax, Type } = require('@feathersjs/typebox');
const knex = require('knex');

const PEOPLE = 200, PROJECTS = 200, EACH = 100;

// The same records as benchmarks/tasks.py; the durability of every peer.
function prepare(file) {
  const database = require('better-sqlite3')(file);
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL');
  const system = 'id INTEGER PRIMARY KEY, version INTEGER NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL';
  database.exec(`CREATE TABLE people (${system}, name TEXT NOT NULL, email TEXT NOT NULL);
    CREATE TABLE projects (${system}, name TEXT NOT NULL);
    CREATE TABLE tasks (${system}, project INTEGER NOT NULL REFERENCES projects, assigneeId INTEGER NOT NULL
      REFERENCES people, title TEXT NOT NULL, done INTEGER NOT NULL);
    CREATE INDEX tasks_project ON tasks (project);`);
  const now = new Date().toISOString();
  const number = (key, width) => String(key).padStart(width, '0');
  const person = database.prepare('INSERT INTO people VALUES (?, 1, ?, ?, ?, ?)');
  const project = database.prepare('INSERT INTO projects VALUES (?, 1, ?, ?, ?)');
  const task = database.prepare('INSERT INTO tasks VALUES (?, 1, ?, ?, ?, ?, ?, ?)');
  database.transaction(() => {
    for (let key = 1; key <= PEOPLE; key++) {
      person.run(key, now, now, `Person number ${number(key, 3)}`, `person${key}@example.org`);
    }
    for (let key = 1; key <= PROJECTS; key++) project.run(key, now, now, `Project number ${number(key, 3)}`);
    for (let key = 1; key <= PROJECTS * EACH; key++) {
      task.run(key, now, now, 1 + Math.floor((key - 1) / EACH), 1 + key * 7 % PEOPLE, `Task number ${number(key, 6)}`,
        Number(key % 3 === 0));
    }
  })();
  database.close();
}

prepare(process.argv[3]);
const Model = knex({
  client: 'better-sqlite3', connection: { filename: process.argv[3] }, useNullAsDefault: true,
  pool: {
    afterCreate: (connection, done) => {
      connection.pragma('journal_mode = WAL');
      connection.pragma('synchronous = FULL');
      done(null, connection);
    },
  },
});

const system = { id: Type.Integer(), version: Type.Integer(), created_at: Type.String(), updated_at: Type.String() };
const taskSchema = Type.Object({
  ...system, project: Type.Integer(), assigneeId: Type.Integer(), title: Type.String(), done: Type.Boolean(),
}, { $id: 'Task', additionalProperties: false });
const querySchema = Type.Intersect([
  querySyntax(Type.Pick(taskSchema, ['id', 'project', 'done'])), Type.Object({}, { additionalProperties: false }),
], { additionalProperties: false });
const queryValidator = getValidator(querySchema, new Ajv({ coerceTypes: true }));
const resolver = resolve({
  done: async (value) => Boolean(value),
  assignee: virtual(async (task, context) => context.app.service('people').get(task.assigneeId)),
});
const externalResolver = resolve({ assigneeId: async () => undefined });

const app = koa(feathers());
app.use(errorHandler());
app.use(parseAuthentication());
app.use(bodyParser());
app.configure(rest());
const paginate = { default: 50, max: 200 };
app.use('people', new KnexService({ Model, name: 'people', id: 'id', paginate }), { methods: ['find', 'get'] });
app.use('tasks', new KnexService({ Model, name: 'tasks', id: 'id', paginate }), { methods: ['find', 'get'] });
app.service('tasks').hooks({
  around: { all: [hooks.resolveExternal(externalResolver), hooks.resolveResult(resolver)] },
  before: { all: [hooks.validateQuery(queryValidator)] },
});
app.listen(Number(process.argv[2]), '127.0.0.1', 2048);
