-- wrk's script for every target: random documents of random tenants, creates with names that are used once.
-- Arguments: method, path template with {id} {id15} {client}, how many documents to choose from, a tag that no
-- other run has, then headers as "Name: value".
local method, path, documents, tag, sequence, thread_number = "GET", "/", 1, "", 0, 0
local headers = {}

function setup(thread)
  thread:set("number", thread_number)
  thread_number = thread_number + 1
end

function init(args)
  method, path, documents, tag = args[1], args[2], tonumber(args[3]), args[4]
  for i = 5, #args do
    local name, value = args[i]:match("^([^:]+): (.*)$")
    headers[name] = value
  end
  math.randomseed(os.time() + number * 7919)
end

local function fill(text, id)
  local client = string.format("client-%03d", id % 100)
  return (text:gsub("{(%w+)}", { id = string.format("%d", id), id15 = string.format("%015d", id), client = client })), client
end

function request()
  local target, client = fill(path, math.random(1, documents))
  if headers["X-Client-ID"] then headers["X-Client-ID"] = client end
  local body
  if method == "POST" then
    sequence = sequence + 1
    if headers["Idempotency-Key"] then headers["Idempotency-Key"] = string.format("%s-%d-%d", tag, number, sequence) end
    body = string.format(
      '{"client_id": "%s", "filename": "upload-%s-%d-%d.txt", "file_size": 50, "file_type": "text/plain", ' ..
      '"content_type": "text/plain", "file_path": "/uploads/new.txt", "summary": "A new file.", "metadata": {"lang": "en"}}',
      client, tag, number, sequence)
  end
  return wrk.format(method, target, headers, body)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
