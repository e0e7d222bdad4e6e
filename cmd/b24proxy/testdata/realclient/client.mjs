// Sends calls at once, then a batch, with the unmodified SDK of Bitrix24, and prints
// how they ended. Usage:
//
//   node client.mjs webhook ADDRESS CALLS
//   node client.mjs oauth ADDRESS CALLS [ADDRESS-OF-THE-OAUTH-SERVER]
//
// For webhooks the SDK always uses https, whatever their address says; with
// OAuth it takes the address as it is. Its own rate limiter is switched off with
// the parameters that it documents, because the proxy does that work. All else,
// its retries too, is left at its defaults.
import { B24Hook, B24OAuth, ParamsFactory } from '@bitrix24/b24jssdk'

const [form, address, calls, server = address] = process.argv.slice(2)
const usual = ParamsFactory.getDefault()
const options = { restrictionParams: { ...usual, rateLimit: { burstLimit: 100_000, drainRate: 100_000, adaptiveEnabled: false } } }

const clients = {
  webhook: () => B24Hook.fromWebhookUrl(address, options),
  oauth: () => new B24OAuth(
    {
      applicationToken: 'simulated-application-token',
      userId: 1,
      memberId: 'simulated-member',
      accessToken: 'simulated-access-token',
      refreshToken: 'simulated-refresh-token',
      expires: Math.floor(Date.now() / 1000) + 3600,
      expiresIn: 3600,
      scope: 'crm',
      domain: new URL(address).host,
      clientEndpoint: `${address}/rest/`,
      serverEndpoint: `${server}/rest/`,
      status: 'L'
    },
    { clientId: 'simulated-client', clientSecret: 'simulated-client-secret' },
    options
  )
}
const b24 = clients[form]()
let refreshes = 0
b24.setCallbackRefreshAuth?.(async () => { refreshes++ })

const outcomes = await Promise.allSettled(
  Array.from({ length: Number(calls) }, (_, i) =>
    b24.actions.v2.call.make({ method: 'crm.deal.add', params: { fields: { TITLE: `Deal ${i}` } } })
  )
)
const failed = outcomes
  .map((o) => (o.status === 'rejected' ? o.reason : o.value.isSuccess ? null : o.value.getErrorMessages().join('; ')))
  .filter((failure) => failure !== null)
const results = new Set(outcomes.map((o) => o.value?.getData().result))
const batch = await b24.actions.v2.batch.make({ calls: [['profile', {}], ['crm.deal.list', { order: { ID: 'ASC' } }], ['crm.deal.fields', {}]] })
const stats = b24.getHttpClient('v2').getStats()

console.log(JSON.stringify({
  succeeded: outcomes.length - failed.length,
  results: results.size,
  batch: batch.isSuccess ? batch.getData().length : batch.getErrorMessages().join('; '),
  failures: [...new Set(failed.map(String))],
  retries: stats.retries,
  errors: stats.failedRequests,
  refreshes
}))
