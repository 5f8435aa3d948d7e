// How this machine reaches Debian's archive and the npm registry, so that a chroot on it can: mirror, proxies,
// certificates. Nothing is named here: all of it is read from the machine. Passwords and tokens are not passed on.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { capture } from '../setup/run.ts';

const LOCAL_CERTIFICATES = '/usr/local/share/ca-certificates';
const PROXY_VARIABLES = ['http_proxy', 'https_proxy', 'no_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'];
const NPM_SETTINGS = ['registry', 'proxy', 'https-proxy', 'noproxy'];
/** Where the chroot has the certificates that this machine's npm and Node trust. */
const BUNDLE = '/etc/ssl/klpemu-host.crt';

/** The archive that this machine's own packages come from; undefined where it is no Debian: mmdebstrap knows Debian's. */
export function debianMirror(): string | undefined {
  const release = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  const isDebian = /^ID=debian$/m.test(readFileSync('/etc/os-release', 'utf8'));
  if (!isDebian || !release) return undefined;
  return archiveOf(release);
}

/** The archive of security updates; undefined where this machine has none. */
export function debianSecurityMirror(): string | undefined {
  const release = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  return release && archiveOf(`${release}-security`);
}

function archiveOf(release: string): string | undefined {
  const targets = capture('apt-get', ['indextargets', '--format', '$(REPO_URI) $(RELEASE) $(COMPONENT)']);
  const lines = targets.split('\n').map((line) => line.split(' '));
  return lines.find(([, suite, component]) => suite === release && component === 'main')?.[0];
}

/**
 * apt's own settings for proxies and certificates, and whether old lists are taken (a mirror may stand still), as
 * mmdebstrap takes them.
 */
export function aptOptions(): string[] {
  const settings = capture('apt-config', ['dump']).matchAll(
    /^(Acquire::\S*(?:proxy|CaInfo|Valid-Until)\S* ".+";)$/gim,
  );
  return [...settings].map(([, setting]) => `--aptopt=${setting.slice(0, -1)}`);
}

/** Files that the chroot gets, as pairs of the place here and the place there. */
export function certificateFiles(): [string, string][] {
  const local = existsSync(LOCAL_CERTIFICATES)
    ? readdirSync(LOCAL_CERTIFICATES).filter((name) => name.endsWith('.crt'))
    : [];
  const files = local.map((name): [string, string] => [
    join(LOCAL_CERTIFICATES, name),
    join(LOCAL_CERTIFICATES, name),
  ]);
  const bundle = hostBundle();
  return bundle ? [...files, [bundle, BUNDLE]] : files;
}

/** The environment of commands in the chroot. */
export function networkEnv(): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of PROXY_VARIABLES) {
    const value = process.env[name];
    if (value) env[name] = value;
  }
  for (const name of NPM_SETTINGS) {
    const value = npmSetting(name);
    if (value) env[`npm_config_${name.replaceAll('-', '_')}`] = value;
  }
  if (hostBundle()) {
    env.NODE_EXTRA_CA_CERTS = BUNDLE;
    env.npm_config_cafile = BUNDLE;
  }
  return env;
}

function hostBundle(): string | undefined {
  const named = process.env.NODE_EXTRA_CA_CERTS ?? npmSetting('cafile');
  return named && existsSync(named) ? named : undefined;
}

function npmSetting(name: string): string | undefined {
  const value = capture('npm', ['config', 'get', name], { cwd: '/' }).trim();
  return ['', 'null', 'undefined'].includes(value) ? undefined : value;
}
