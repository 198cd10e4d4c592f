// Feathers 5 as `feathers generate` makes it: Koa, Socket.IO, Knex with better-sqlite3, TypeBox schemas and
// resolvers; every event goes to everybody.
const { feathers } = require('@feathersjs/feathers');
const { KnexService } = require('@feathersjs/knex');
const { koa, rest, bodyParser, errorHandler, parseAuthentication } = require('@feathersjs/koa');
const { Ajv, hooks, resolve } = require('@feathersjs/schema');
const socketio = require('@feathersjs/socketio');
const { getValidator, querySyntax, Type } = require('@feathersjs/typebox');
const knex = require('knex');
const { newKey, prepare } = require('./records.cjs');

prepare(process.argv[3]).close();
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

const given = {
  title: Type.String(), notes: Type.String(),
  status: Type.Union([Type.Literal('todo'), Type.Literal('doing'), Type.Literal('done')]),
  done: Type.Boolean(), priority: Type.Integer(), owner: Type.Integer(),
};
const itemSchema = Type.Object({
  id: Type.String(), version: Type.Integer(), created_at: Type.String(), updated_at: Type.String(), ...given,
}, { $id: 'Item', additionalProperties: false });
const dataSchema = Type.Object(given, { $id: 'ItemData', additionalProperties: false });
const querySchema = Type.Intersect([
  querySyntax(Type.Pick(itemSchema, ['id', 'owner', 'status'])), Type.Object({}, { additionalProperties: false }),
], { additionalProperties: false });
const dataValidator = getValidator(dataSchema, new Ajv({}));
const queryValidator = getValidator(querySchema, new Ajv({ coerceTypes: true }));
const now = async () => new Date().toISOString();
const resolver = resolve({ done: async (value) => Boolean(value) });
const dataResolver = resolve({
  id: async () => newKey(), version: async () => 1, created_at: now, updated_at: now,
});

const app = koa(feathers());
app.use(errorHandler());
app.use(parseAuthentication());
app.use(bodyParser());
app.configure(rest());
app.configure(socketio({ transports: ['websocket'], serveClient: false }));
const paginate = { default: 50, max: 200 };
app.use('items', new KnexService({ Model, name: 'items', id: 'id', paginate }), {
  methods: ['find', 'get', 'create'],
});
app.service('items').hooks({
  around: { all: [hooks.resolveExternal(resolver), hooks.resolveResult(resolver)] },
  before: {
    all: [hooks.validateQuery(queryValidator)],
    create: [hooks.validateData(dataValidator), hooks.resolveData(dataResolver)],
  },
});
app.on('connection', (connection) => app.channel('everybody').join(connection));
app.publish(() => app.channel('everybody'));
app.listen(Number(process.argv[2]), '127.0.0.1', 2048);
