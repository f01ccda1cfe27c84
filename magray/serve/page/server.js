// Questions to the server. What it says is wrong becomes an error with its sentence.

export async function asked(url, body) {
  return parsed(await answering(url, body && { method: "POST", body }));
}

// Yield the records of an answer that has one in each line, as they come.
export async function* askedInLines(url, body, signal) {
  const reader = (await answering(url, { method: "POST", body, signal })).body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (text + value).split("\n");
    text = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

export const reason = (error) => (error instanceof TypeError ? "the server does not answer; is magray serve still running?" : error.message);

async function answering(url, options) {
  const response = await fetch(url, options);
  if (response.ok) return response;
  throw new Error((await parsed(response)).detail ?? `the server says ${response.status}`);
}

async function parsed(response) {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(response.ok ? "the server's answer cannot be read" : `the server says: ${text.slice(0, 200) || response.status}`);
  }
}
