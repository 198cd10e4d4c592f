// `ws` with the optional native module that its documentation recommends, compression off (its default).
const { WebSocket, WebSocketServer } = require('ws');
const { publishing } = require('./records.cjs');

const http = publishing((item) => {
  const text = JSON.stringify(item);
  for (const client of server.clients) if (client.readyState === WebSocket.OPEN) client.send(text);
});
const server = new WebSocketServer({ server: http, path: '/ws' });
http.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 2048 });
