// Socket.IO, WebSocket only, with what its page on performance recommends: bufferutil, no request kept.
const { Server } = require('socket.io');
const { publishing } = require('./records.cjs');

const http = publishing((item) => io.emit('item', item));
const io = new Server(http, { transports: ['websocket'], serveClient: false });
io.engine.on('connection', (socket) => { socket.request = null; });
http.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 2048 });
