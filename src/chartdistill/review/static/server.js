// What the page asks of its server. A failure is an Error whose message is a sentence for a person.

const NO_ANSWER =
  "The server does not answer: what you did last is not saved. Start `chartdistill review` again and open its new address.";

export function get(name, values = {}) {
  return answered(`api/${name}?${new URLSearchParams(values)}`, {});
}

export function post(name, values) {
  const body = JSON.stringify(values);
  return answered(`api/${name}`, { method: "POST", headers: { "content-type": "application/json" }, body });
}

async function answered(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error(NO_ANSWER);
  }
  if (response.ok) return response.json();
  const said = await response.text();
  const failure = new Error(sentence(said) || `The server answered ${response.status}.`);
  failure.status = response.status;
  throw failure;
}

function sentence(said) {
  try {
    return JSON.parse(said).error;
  } catch {
    return said;
  }
}
