// Relay's compiler and Babel plugin: node relay-compile.js CONFIG
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { transformFileSync } from '@babel/core'

execFileSync(process.execPath, ['node_modules/relay-compiler/cli.js', process.argv[2]], { stdio: 'inherit' })
writeFileSync('relay/built.js', transformFileSync('relay/operations.js', { plugins: ['relay'] }).code)
