// A Node http server: tells what it received. Usage: node node_app.js PORT
"use strict";

const http = require("node:http");
const name = process.env.APPLICATION || "node";

const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const seen = {
      application: name,
      method: request.method,
      target: request.url,
      scheme: request.headers["x-forwarded-proto"] || "http",
      client: request.socket.remoteAddress,
      headers: request.headers,
      body: Buffer.concat(parts).toString(),
    };
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify(seen) + "\n"); // no length: Node sends it chunked, or not, as it likes
  });
});

server.listen(Number(process.argv[2]));
