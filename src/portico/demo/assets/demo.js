"use strict";

const $ = (id) => document.getElementById(id);

$("call").addEventListener("click", async () => {
  const output = $("answer");
  output.hidden = false;
  try {
    const response = await fetch("/api/hello");
    output.textContent = `${response.status} ${response.statusText}\n${await response.text()}`;
  } catch (error) {
    output.textContent = String(error);
  }
});

const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/echo`);

function show(message) {
  const line = document.createElement("li");
  line.textContent = message;
  $("log").prepend(line);
  while ($("log").children.length > 5) $("log").lastElementChild.remove();
}

function state(word) {
  $("state").textContent = word;
  $("state").classList.toggle("open", word === "open");
}

socket.addEventListener("open", () => {
  state("open");
  socket.send("Hello through the proxy");
});
socket.addEventListener("close", () => state("closed"));
socket.addEventListener("message", (event) => show(event.data));

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const message = $("message").value;
  if (message && socket.readyState === WebSocket.OPEN) {
    socket.send(message);
    $("message").value = "";
  }
});
