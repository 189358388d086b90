// The states of a hospital of the test's own (example_test.go), where everything can fail.
import { check, control, focused, say } from './drive.js'
import { Visitor, docs, notSaved, notSavedAfterAll, numberOf, rejected, saved, unknown, words } from './visitor.js'

const { FRONT, READER } = process.env

export const hospital = {
  // What is not known yet: through a reload, and until it is.
  async unknown() {
    const v = await Visitor.at(FRONT)
    await v.signIn('admin')
    await control('lose', 'pending')
    await v.profile(numberOf('pending'))
    await v.edit({ phone: '010-4567-8901' })
    await v.save()
    await v.heading(unknown).waitFor()
    await v.text(say('Not settled', '확인 중')).waitFor()
    await v.state('unknown')
    await docs(v, 'unknown')
    const kept = await v.page.evaluate(() => ({ ...sessionStorage, ...localStorage }))
    check(/^\[{"patientId":"P-2026-\d{6}","idempotencyKey":"[0-9a-f-]{36}","operationId":"[0-9a-f-]{36}"}\]$/.test(kept['patientgraph.unsettled']) &&
      Object.keys(kept).length === 1, `kept is ${JSON.stringify(kept)}`)
    await v.page.reload()
    await v.button(words.admin).click()
    await v.heading(unknown).waitFor()
    await v.state('unknown-after-reload')
    await v.page.goto(`${FRONT}/app/#/`)
    await v.text(say(/^We do not know yet whether a change was saved/, /^저장되었는지 아직 알 수 없는 변경/)).waitFor()
    await v.state('unknown-elsewhere')
    await v.page.getByRole('main').getByRole('link', { name: numberOf('pending'), exact: true }).first().click()
    await control('clear')
    await v.heading(notSavedAfterAll).waitFor()
    await v.state('settled-not-applied')
    check(await v.page.evaluate(() => sessionStorage.length) === 0, 'what is settled is kept')
    await v.button(say('Edit again', '다시 수정')).click()
    await focused(v.field(words.phone))
    await v.leave()
  },

  // A hospital whose FHIR server fails in each way.
  async fhir() {
    const v = await Visitor.at(FRONT)
    await v.signIn('admin')
    const ask = (id, values, title, card) => v.ask(numberOf(id), values, title, card)
    const phone = '010-2000-3000'

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
    await v.button(words.tryAgain).click()
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
    check(await v.button(words.tryAgain).count() === 0, 'it is said that waiting helps')
    await v.state('operator')
    await control('clear')
    await control('ignore', 'ignoring')
    await ask('ignoring', { phone }, say('Not everything was saved', '일부 내용이 저장되지 않았습니다'))
    await v.state('not-applied')
    await control('normalize', 'normalizing')
    await ask('normalizing', { phone }, saved)
    await v.text(say(/^The hospital’s record writes it in its own form/, /자체 형식으로 저장됩니다/)).waitFor()
    await v.state('normalized')
    await control('delete', 'gone')
    await ask('gone', { phone }, say('The hospital’s record no longer has this patient', '병원 기록 시스템에 더 이상 없는 환자입니다'))
    await v.state('gone')
    await control('merge', 'merging')
    await ask('merging', { phone }, rejected)
    await v.state('merged-meanwhile')
    await v.profile(numberOf('merged'))
    await v.text(say(/^This record was merged into another/, /^다른 기록과 통합되어/)).waitFor()
    await v.state('merged')
    await v.page.getByRole('link', { name: numberOf('survivor') }).click()
    await v.button(words.edit(words.contact)).waitFor()
    await v.profile(numberOf('inactive'))
    await v.text(say('Not in use', '사용하지 않는 기록')).waitFor()
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
    await v.button(say('Edit again', '다시 수정')).waitFor()
    await v.state('settled-otherwise')

    await v.profile(numberOf('deleted'))
    await v.edit({ phone })
    await control('delete', 'deleted')
    await control('sync')
    await v.heading(say('No longer there', '더 이상 없는 기록입니다')).waitFor()
    await v.state('deleted')
    await v.profile(numberOf('forgotten'))
    await v.edit({ phone })
    await control('forget', 'forgotten')
    await v.save()
    await v.result(say('There is no such patient any more', '환자를 더 이상 찾을 수 없습니다'))
    await v.state('patient-not-found')
    await v.leave()
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
    await v.button(words.tryAgain).click()
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
    await v.button(words.tryAgain).click()
    await v.result(saved)

    await v.profile(numberOf('session'))
    await v.edit({ phone })
    await control('refused', 'on')
    await v.save()
    await v.text(say('You were signed out', '로그아웃되었습니다')).waitFor()
    check(!await v.field(words.phone).isVisible(), 'the record is still to be seen')
    await v.state('signed-out')
    await control('refused', 'off')
    await v.button(words.admin).click()
    check(await v.field(words.phone).inputValue() === phone, 'what was typed is gone')
    await v.save()
    await v.result(saved)

    await v.profile(numberOf('lost'))
    await v.edit({ phone })
    await control('lost', 'on')
    await v.save()
    await v.result(say('No answer came', '응답이 없습니다'))
    await v.state('answer-lost')
    await control('lost', 'off')
    await v.button(words.tryAgain).click() // the same key: it is told what it was told
    await v.result(saved)
    await v.edit({ phone: '010-2000-3002' })
    await control('lost', 'on')
    await v.save()
    await v.result(say('No answer came', '응답이 없습니다'))
    await control('lost', 'off')
    await v.page.reload()
    await v.button(words.admin).click()
    await v.heading(say('No answer came to a change that was sent before the page was reloaded', '페이지를 새로 고치기 전에 보낸 변경에 대한 응답을 받지 못했습니다')).waitFor()
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
    await v.page.getByRole('link', { name: say(/All patients/, /환자 목록/) }).click()
    await control('slow', 'on')
    const first = v.page.waitForRequest(request => request.postData()?.includes('"name":"홍"'))
    const aborted = v.page.waitForEvent('requestfailed', request => request.postData()?.includes('"name":"홍"'))
    await v.page.getByRole('searchbox').fill('홍')
    await first
    await v.page.getByRole('searchbox').fill('홍길')
    check((await aborted).failure().errorText === 'net::ERR_ABORTED', 'the search goes on')
    await control('slow', 'off')

    await v.button(say('Sign out', '로그아웃')).click()
    await v.page.getByLabel(say('Access token', '액세스 토큰')).fill(READER)
    await v.button(say('Sign in with the token', '토큰으로 로그인')).click()
    await v.heading(say('Patients', '환자 목록')).waitFor()
    await ask('lost', { phone: '010-1212-1212' }, say('You may not change this', '수정 권한이 없습니다'))
    await v.state('not-permitted')
    await v.leave()

    function ask(id, values, title, card) { return v.ask(numberOf(id), values, title, card) }
  },
}
