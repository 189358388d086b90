// Every state of examples/react in one language. Each step waits for what it is about to see.
import { demo } from './demo.js'
import { quit, seen } from './drive.js'
import { hospital } from './hospital.js'

const only = process.env.EXAMPLE_ONLY // one group, while working on it
try {
  for (const [name, run] of Object.entries({ ...demo, ...hospital })) {
    if (only && only !== name) continue
    console.log(name)
    await run()
  }
} finally {
  await quit()
}
console.log(`${seen().length} states: ${seen().join(', ')}`)
