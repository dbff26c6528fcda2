import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { isIPv4 } from 'node:net'

/** A key and its certificate, as servers and clients take them. */
export interface Certified {
  readonly key: string
  readonly cert: string
}

/** An authority of one test, which vouches for servers of these names and addresses. */
export interface Authority {
  /** What a client has to know to trust it. */
  readonly cert: string
  vouchFor(...names: readonly string[]): Certified
}

/** Makes an authority that nobody else knows. Certificates are put together by hand: no program has to be installed. */
export function makeAuthority(name = 'Test authority'): Authority {
  const own = keyPair()
  const basic = extension([0x55, 0x1d, 0x13], sequence(der(0x01, Buffer.from([0xff]))), true)
  const cert = certificate({ subject: name, issuer: name, publicKey: own.publicKey, signedBy: own.privateKey }, basic)
  return {
    cert,
    vouchFor(...names) {
      const { publicKey, privateKey } = keyPair()
      const alternatives = names.map((one) =>
        isIPv4(one) ? der(0x87, Buffer.from(one.split('.').map(Number))) : der(0x82, Buffer.from(one)),
      )
      const about = { subject: names[0]!, issuer: name, publicKey, signedBy: own.privateKey }
      return {
        key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
        cert: certificate(about, extension([0x55, 0x1d, 0x11], sequence(...alternatives))),
      }
    },
  }
}

function keyPair() {
  return generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
}

interface About {
  readonly subject: string
  readonly issuer: string
  readonly publicKey: KeyObject
  readonly signedBy: KeyObject
}

/** X.509 version 3, good from yesterday until tomorrow. */
function certificate({ subject, issuer, publicKey, signedBy }: About, ...extensions: readonly Buffer[]): string {
  const serial = Buffer.concat([Buffer.from([0x01]), randomBytes(15)])
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    sequence(oid(ecdsaWithSha256)),
    distinguishedName(issuer),
    sequence(time(-1), time(1)),
    distinguishedName(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  )
  const signature = der(0x03, Buffer.concat([Buffer.from([0]), sign('sha256', body, signedBy)]))
  const text = sequence(body, sequence(oid(ecdsaWithSha256)), signature).toString('base64')
  return `-----BEGIN CERTIFICATE-----\n${text.replace(/.{64}/g, '$&\n').trimEnd()}\n-----END CERTIFICATE-----\n`
}

const ecdsaWithSha256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]
const commonName = [0x55, 0x04, 0x03]

function distinguishedName(name: string): Buffer {
  return sequence(der(0x31, sequence(oid(commonName), der(0x0c, Buffer.from(name)))))
}

function extension(id: readonly number[], content: Buffer, isCritical = false): Buffer {
  const critical = isCritical ? [der(0x01, Buffer.from([0xff]))] : []
  return sequence(oid(id), ...critical, der(0x04, content))
}

function time(days: number): Buffer {
  const [date, clock] = new Date(Date.now() + days * 86_400_000).toISOString().split(/[T.]/)
  return der(0x17, Buffer.from(`${date!.slice(2).replaceAll('-', '')}${clock!.replaceAll(':', '')}Z`))
}

function oid(bytes: readonly number[]): Buffer {
  return der(0x06, Buffer.from(bytes))
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts))
}

/** One value of the Distinguished Encoding Rules: its tag, its length, itself. */
function der(tag: number, content: Buffer): Buffer {
  const { length } = content
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
