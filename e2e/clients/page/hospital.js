// The states of a hospital of the test's own (example_test.go), where everything can fail.
import { check, control, focused, say } from './drive.js'
import { Visitor, chosen, conflict, docs, editAgain, list, notSaved, notSavedAfterAll, numberOf, ownRecords, refusedToken, rejected, saved, unknown, words } from './visitor.js'

const { CARER, FRONT, READER } = process.env

export const hospital = {
  // What is not known yet: through a reload, and until it is.
  async unknown() {
    const [v, other] = [await Visitor.at(FRONT), await Visitor.at(FRONT)]
    await v.signIn('admin')
    await other.signIn('admin')
    await other.profile(numberOf('pending'))
    await other.button(words.edit(words.contact)).waitFor()
    await control('lose', 'pending')
    await v.profile(numberOf('pending'))
    await v.edit({ phone: '010-4567-8901' })
    await v.save()
    await v.heading(unknown).waitFor()
    await v.text(say('Not settled', '확인 중')).waitFor()
    await v.state('unknown')
    check(await other.text(say('Not settled', '확인 중')).count() === 0, 'it is told already')
    await other.edit({})
    await other.text(say('Not settled', '확인 중')).waitFor()
    await other.page.locator('.note').getByText(say(/^A change is on its way/, /^변경이 아직 확정되지/)).waitFor()
    await other.state('unknown-to-others')
    await other.leave()
    await docs(v, 'unknown')
    const kept = await v.page.evaluate(() => ({ ...sessionStorage, ...localStorage }))
    check(/^\[{"patientId":"P-2026-\d{6}","idempotencyKey":"[0-9a-f-]{36}","operationId":"[0-9a-f-]{36}"}\]$/.test(kept['patientgraph.unsettled']) &&
      Object.keys(kept).length === 1, `kept is ${JSON.stringify(kept)}`)
    await v.page.reload()
    await v.signIn('admin', unknown)
    await v.state('unknown-after-reload')
    await v.page.goto(`${FRONT}/app/#/`)
    await v.text(say(/^We do not know yet whether a change was saved/, /^저장되었는지 아직 알 수 없는 변경/)).waitFor()
    await v.state('unknown-elsewhere')
    await v.page.getByRole('main').getByRole('link', { name: numberOf('pending'), exact: true }).first().click()
    await control('clear')
    await v.heading(notSavedAfterAll).waitFor()
    await v.state('settled-not-applied')
    check(await v.page.evaluate(() => sessionStorage.length) === 0, 'what is settled is kept')
    await v.button(say('Type it again', '다시 입력')).click()
    await focused(v.field(words.phone))
    await v.leave()
  },

  // A hospital whose FHIR server fails in each way.
  async fhir() {
    const v = await Visitor.at(FRONT)
    await v.signIn('admin')
    const ask = (id, values, title, card) => v.ask(numberOf(id), values, title, card)
    const phone = '010-2000-3000'
    const merged = say(/^This record was merged into another/, /^다른 기록과 통합되어/)
    const mayNotEdit = say(/^You may read this record/, /^이 기록을 조회할 수는/)

    await v.profile(numberOf('survivor'))
    await v.text(say('May be out of date', '최신이 아닐 수 있음')).waitFor()
    await v.state('stale')

    await control('away', 'away')
    await ask('away', { phone }, notSaved)
    check(await v.button(words.tryAgainIn, false).isDisabled(), 'one may try again at once')
    await v.state('unavailable')
    await v.button(words.cancel).click()
    v.sent.length = 0
    await control('away-briefly', 'away')
    await ask('away', { phone }, notSaved)
    await control('clear')
    await v.save() // once it may be
    await v.result(saved)
    await v.edit({ phone: '010-2000-3001' })
    await v.save()
    await v.result(saved)
    const [first, again, other] = v.sent
    check(v.sent.length === 3 && first.idempotencyKey === again.idempotencyKey && again.idempotencyKey !== other.idempotencyKey &&
      first.expectedVersion && first.expectedVersion === again.expectedVersion && again.expectedVersion !== other.expectedVersion,
      `a try and its retry, and another change, were sent as ${JSON.stringify(v.sent)}`)

    await control('unauthorized', 'busy')
    await ask('busy', { phone }, notSaved)
    await v.text(say(/^Waiting does not help/, /^기다려도 해결되지 않습니다/)).waitFor()
    await v.state('operator')
    await control('clear')
    await control('ignore', 'ignoring')
    await ask('ignoring', { phone }, say('Not everything was saved', '일부 내용이 저장되지 않았습니다'))
    await v.text(say('The hospital’s record says:', '병원 기록 시스템의 답변:')).waitFor()
    await v.state('not-applied')
    await control('normalize', 'normalizing')
    await ask('normalizing', { phone }, saved)
    await v.text(say(/^The hospital’s record writes it in its own form/, /자체 형식으로 저장됩니다/)).waitFor()
    await v.state('normalized')
    await control('delete', 'gone')
    await ask('gone', { phone }, say('The hospital’s record no longer has this patient', '병원 기록 시스템에 더 이상 없는 환자입니다'))
    await nothingToSave('gone')
    await v.state('gone')
    await control('merge', 'merging')
    await ask('merging', { phone }, rejected)
    await v.heading(merged).waitFor()
    check(await v.page.getByRole('link', { name: numberOf('survivor') }).count() === 1, 'the way on stands twice')
    await nothingToSave('merging')
    await v.state('merged-meanwhile')
    await v.profile(numberOf('merged'))
    await v.heading(merged).waitFor()
    check(await v.text(say('Up to date', '최신 상태')).count() + await v.text(mayNotEdit).count() === 0, 'a merged record is up to date, or only read')
    await v.state('merged')
    await v.page.getByRole('link', { name: numberOf('survivor') }).click()
    await v.button(words.edit(words.contact)).waitFor()
    await v.profile(numberOf('inactive'))
    await v.text(say(/this record is not in use: it cannot be changed/, /사용하지 않는 기록이므로 수정할 수 없습니다/)).waitFor()
    check(await v.text(mayNotEdit).count() === 0, 'it is called the fault of the role')
    await v.state('inactive')

    await control('lose-and-apply', 'applied')
    await v.profile(numberOf('applied'))
    await v.edit({ phone })
    await v.save()
    await v.heading(unknown).waitFor()
    await control('clear')
    await v.heading(say('It was saved after all', '저장된 것으로 확인되었습니다')).waitFor()
    await v.text(phone).first().waitFor()
    await v.state('settled-applied')
    await v.button(words.close).click()

    await control('lose', 'overtaken')
    await v.profile(numberOf('overtaken'))
    await v.edit({ phone })
    await v.save()
    await v.heading(unknown).waitFor()
    await control('edit', 'overtaken')
    await control('clear')
    await v.button(editAgain).waitFor()
    await v.text(phone).waitFor() // what was to be saved
    check(await v.button(words.edit(words.contact)).count() === 0, 'two buttons edit')
    await v.state('settled-otherwise')

    // The same, not told at once, and then as a conflict. The schema allows it, but the
    // server ends no change as a conflict once nobody waits for it.
    let asked = 0
    await v.page.route('**/graphql', async route => {
      if (route.request().postDataJSON().operationName !== 'ContactUpdate') return route.continue()
      if (asked++ === 0) return route.abort()
      const response = await route.fetch()
      const { data } = await response.json()
      const { message, operationId, patient: current } = data.contactUpdate.result
      data.contactUpdate.result = {
        __typename: 'UpdateConflict', code: 'UPDATE_CONFLICT', retryable: false, message, operationId, conflictingFields: ['phone'], current,
      }
      return route.fulfill({ response, json: { data } })
    })
    await control('lose', 'conflicting')
    await v.profile(numberOf('conflicting'))
    await v.edit({ phone, email: 'mine@example.org' })
    await v.save()
    await v.heading(unknown).waitFor()
    await control('edit', 'conflicting')
    await control('clear')
    await v.heading(say('No answer came', '응답이 없습니다')).waitFor()
    await v.state('settled-untold')
    await v.button(words.tryAgain).click()
    await v.button(editAgain).waitFor()
    await v.text(phone).waitFor()
    await v.state('settled-conflict')
    await v.page.unroute('**/graphql')
    await v.button(editAgain).click()
    await v.result(conflict)
    await v.text('010-4444-5555').waitFor()
    await v.state('settled-conflict-choice')
    await v.page.getByText(say('Save yours', '입력한 값 저장')).click()
    await v.button(chosen).click()
    await v.result(saved)
    await v.text(phone).waitFor()
    await v.text('mine@example.org').waitFor()

    await v.profile(numberOf('deleted'))
    await v.edit({ phone })
    await control('delete', 'deleted')
    await control('sync')
    await v.heading(say('No longer there', '더 이상 없는 기록입니다')).waitFor()
    await nothingToSave('deleted')
    await v.state('deleted')
    await v.profile(numberOf('forgotten'))
    await v.edit({ phone })
    await control('forget', 'forgotten')
    await v.save()
    await v.result(say('There is no such patient any more', '환자를 더 이상 찾을 수 없습니다'))
    await nothingToSave('forgotten')
    await v.state('patient-not-found')
    await v.leave()

    async function nothingToSave(id) {
      check(await v.button(words.save).count() === 0, `${id}: one may save what nobody takes`)
    }
  },

  // The server itself cannot, or may not.
  async server() {
    const v = await Visitor.at(FRONT)
    await v.signIn('admin')
    const phone = '010-2000-3000'

    await ask('emergency', { name: '' , phone: '010-1' }, say('Please check what you have typed', '입력하신 내용을 확인해 주세요'), words.emergency)
    await v.state('emergency-invalid')
    await v.field(words.name, words.emergency).fill('홍판서')
    await v.save()
    await v.result(saved)
    await v.state('emergency-saved')

    await v.profile(numberOf('database'))
    await v.edit({ phone })
    await control('database-away')
    await v.save()
    await v.result(say('The server cannot answer right now', '서버가 지금 응답할 수 없습니다'))
    await v.state('database-away')
    await control('database-back')
    await v.save()
    await v.result(saved)

    await v.profile(numberOf('broken'))
    await v.edit({ phone })
    await control('break')
    await v.save()
    await v.result(say('Something went wrong', '문제가 발생했습니다'))
    await v.text(say(/tell the operator this incident id: [0-9a-f-]{36}/, /[0-9a-f-]{36}/)).waitFor()
    await v.state('internal')
    await control('mend')
    await v.save()
    await v.result(saved)

    // Where a page makes the same key for two changes.
    await v.profile(numberOf('reused'))
    await v.page.evaluate(() => { crypto.randomUUID = () => 'the-same-for-all' })
    await v.edit({ phone })
    await v.save()
    await v.result(saved)
    await v.edit({ phone: '010-2000-3001' })
    await v.save()
    await v.result(notSaved)
    await v.state('key-reused')
    await v.page.evaluate(() => { delete crypto.randomUUID })
    await v.save()
    await v.result(saved)

    await v.profile(numberOf('limited'))
    await control('flood', 'on')
    for (let n = 0; await v.heading(say('Too many requests', '요청이 너무 많습니다')).count() === 0; n++) { // the flood may leave room for one
      check(n < 50, 'one may ask as often as one likes')
      if (await v.field(words.phone).count() === 0) await v.edit({ phone: `010-2000-${1000 + n}` })
      await v.save()
      await v.page.locator('.panel').first().waitFor()
    }
    await control('flood', 'off')
    await v.state('limited')
    await v.save()
    await v.result(saved)

    await v.profile(numberOf('session'))
    await v.edit({ phone })
    await v.quiet()
    await control('refused', 'on')
    await v.save()
    await v.text(say('You were signed out', '로그아웃되었습니다')).waitFor()
    check(!await v.field(words.phone).isVisible(), 'the record is still to be seen')
    await v.state('signed-out')
    await v.button(words.admin).click()
    await v.result(refusedToken)
    await v.text(say(/the demo was started anew/, /데모가 다시 시작되었습니다/)).waitFor()
    await v.state('refused-role')
    await control('refused', 'off')
    await v.button(words.admin).click()
    await v.field(words.phone).waitFor()
    check(await v.field(words.phone).inputValue() === phone, 'what was typed is gone')
    await v.save()
    await v.result(saved)

    // Somebody else comes, while the first one's page is still asking.
    await v.edit({ phone: '010-2000-3003' })
    await v.quiet()
    await control('refused', 'on')
    await v.save()
    await v.text(say('You were signed out', '로그아웃되었습니다')).waitFor()
    await control('refused', 'off')
    v.asked.length = 0
    await v.signInWith(READER)
    await v.text(say(/^\d+ patients\. /, /^환자 \d+명\. /)).waitFor()
    check(v.asked.length === 1 && v.asked[0].startsWith(say('Another person’s unsaved entries', '이 페이지에 다른 사람이 입력하고')), `asked is ${v.asked}`)
    await v.state('another-person')
    await v.signOut()
    await v.signIn('admin')

    await v.profile(numberOf('lost'))
    await v.edit({ phone })
    await control('lost', 'on')
    await v.save()
    await v.result(say('No answer came', '응답이 없습니다'))
    await v.state('answer-lost')
    await control('lost', 'off')
    await v.save() // the same key: it is told what it was told
    await v.result(saved)
    await v.edit({ phone: '010-2000-3002' })
    await control('lost', 'on')
    await v.save()
    await v.result(say('No answer came', '응답이 없습니다'))
    await control('lost', 'off')
    await v.page.reload()
    await v.signIn('admin', say('No answer came to an earlier change', '이전에 보낸 변경에 대한 응답을 받지 못했습니다'))
    await v.state('unanswered')
    await v.button(say('Understood', '확인')).click()
    check(await v.page.evaluate(() => sessionStorage.length) === 0, 'what is understood is kept')

    await v.edit({ phone: '010-2000-4000' })
    await control('slow', 'on')
    await v.save()
    await v.text(say(/^Saving…/, /^저장 중…/)).waitFor()
    await v.state('saving')
    await control('slow', 'off')
    await v.page.reload()
    await v.button(words.admin).click()
    await v.button(say('Understood', '확인')).click()

    // Each letter is searched for, and what nobody waits for any more is given up.
    await v.backTo(list).click()
    await control('slow', 'on')
    const first = v.page.waitForRequest(request => request.postData()?.includes('"name":"홍"'))
    const aborted = v.page.waitForEvent('requestfailed', request => request.postData()?.includes('"name":"홍"'))
    await v.page.getByRole('searchbox').fill('홍')
    await first
    await v.page.getByRole('searchbox').fill('홍길')
    check((await aborted).failure().errorText === 'net::ERR_ABORTED', 'the search goes on')
    await control('slow', 'off')

    await v.signOut()
    await v.signInWith(READER)
    await v.heading(list).waitFor()
    await ask('lost', { phone: '010-1212-1212' }, say('You may not change this', '수정 권한이 없습니다'))
    await v.state('not-permitted')
    await v.leave()

    function ask(id, values, title, card) { return v.ask(numberOf(id), values, title, card) }
  },

  // Who looks after several, and has no record too many.
  async carer() {
    const v = await Visitor.at(FRONT)
    await v.signInWith(CARER)
    await v.heading(ownRecords).waitFor()
    await v.text(say('2 of 2 shown', '2명 중 2명 표시')).waitFor()
    await v.state('own-records')
    await v.page.getByRole('link', { name: numberOf('survivor') }).click()
    await v.edit({})
    check(await v.page.locator('.edit :is(input, textarea):not([autocomplete=off])').count() === 0, 'the browser fills in what it knows of the carer')
    await v.backTo(ownRecords).click()
    await v.heading(ownRecords).waitFor()
    await v.leave()
  },
}
