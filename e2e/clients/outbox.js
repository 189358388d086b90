// A phone with the outbox of examples/mobile, which ../outbox_test.go drives: its disk is
// a file, and its clock runs ahead to when something is due.
import { open, readFile, rename } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { Outbox, sender } from './mobile/outbox/outbox.js'

const [, , file, command, ...args] = process.argv
const disk = {
  async load() {
    return JSON.parse(await readFile(file, 'utf8').catch(() => '[]'))
  },
  async save(changes) {
    const next = await open(`${file}.next`, 'w')
    await next.writeFile(JSON.stringify(changes))
    await next.sync()
    await next.close()
    await rename(`${file}.next`, file)
  },
}
const document = ['SaveContact', 'fragments'].map(name => readFileSync(`mobile/operations/${name}.graphql`, 'utf8')).join('')
const post = sender(`${process.env.SERVER}/graphql`, document, async () => process.env.TOKEN, 'ko')

let now = Date.now()
const waits = []
const sent = []
const outbox = await Outbox.open(disk, async input => {
  const answer = await post(input)
  sent.push(`${input.patientId} ${answer.outcome?.__typename ?? Object.keys(answer)[0]}`)
  return answer
}, { now: () => now, random: () => 1 })

const commands = {
  add: async () => outbox.add(args[0], args[1], JSON.parse(args[2])),
  overwrite: async () => outbox.overwrite(args[0]),
  discard: async () => outbox.discard(args[0]),
  async hurry() { // as when the network is back at once
    await outbox.flush()
    outbox.wake()
    return outbox.flush()
  },
  async flush() { // until nothing waits, or after so many turns
    for (let turns = Number(args[0] ?? Infinity), due; turns > 0; turns--) {
      due = await outbox.flush()
      if (typeof due !== 'number') return due
      waits.push(Math.round((due - now) / 1000))
      now = due
      await pause(50) // the server's clock does not run ahead
    }
  },
}
const said = await commands[command]()
console.log(JSON.stringify({ said, sent, waits, changes: outbox.changes }))
