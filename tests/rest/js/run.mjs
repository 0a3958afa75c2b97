// Runs the cases against the address that is given, and prints as JSON what the client offers and which cases failed.
// Arguments: the address of /rest/v1, the engine behind it.

import { deepStrictEqual } from 'node:assert'
import * as library from '@supabase/postgrest-js'

import { cases, part_of_every_case } from './cases.mjs'

const [url, engine] = process.argv.slice(2)
const client = new library.PostgrestClient(url)
const failures = []
let passed = 0

for (const [name, list] of Object.entries(cases)) {
  for (const [place, [build, expected, refusals = {}]] of list.entries()) {
    const wanted = refusals[engine]
    try {
      const answer = await build(client)
      if (wanted !== undefined) deepStrictEqual(answer.error?.code ?? null, wanted)
      else if (answer.error) throw new Error(JSON.stringify(answer.error))
      else if (typeof expected === 'function') deepStrictEqual(expected(answer), true)
      else deepStrictEqual(answer.data, expected)
      passed += 1
    } catch (error) {
      failures.push(`${name} ${place}: ${error.message}`)
    }
  }
}

const offered = new Set()
for (const kind of Object.values(library)) {
  if (typeof kind === 'function' && kind.name !== 'PostgrestError') {
    Object.getOwnPropertyNames(kind.prototype).forEach((name) => offered.add(name))
  }
}
offered.delete('constructor')
const unknown = [...offered].filter((name) => !(name in cases) && !(name in part_of_every_case))
console.log(JSON.stringify({ passed, failures, unknown, offered: offered.size }))
