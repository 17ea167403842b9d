import { afterEach, describe, expect, test, vi } from 'vitest';
import { rankAdapters } from '../../scripts/adapters.mjs';
import { useAdapterEnvironment } from '../../scripts/environment.mjs';
import { untar } from '../../scripts/npmPackage.mjs';
import { checkNode, isInstalled } from '../../scripts/setup.mjs';
import { askedProjects, countResults } from '../../scripts/vitest.mjs';

afterEach(() => vi.unstubAllEnvs());

describe('adapters', () => {
  const lavapipe = { backend: 'vulkan', name: 'llvmpipe (LLVM 15.0.6, 256 bits)' };
  const swiftshader = { backend: 'vulkan', name: 'SwiftShader Device (Subzero)' };
  const warp = { backend: 'd3d12', name: 'Microsoft Basic Render Driver' };
  const radeon = { backend: 'vulkan', name: 'AMD Radeon Graphics (RADV)' };
  const all = [warp, swiftshader, lavapipe, radeon];

  test('a real GPU goes first, then the fastest software', () => {
    expect(rankAdapters(all)).toEqual([radeon, lavapipe, swiftshader, warp]);
  });

  test('part of a name in any case chooses; an empty one does not', () => {
    expect(rankAdapters(all, 'swift')).toEqual([swiftshader]);
    expect(rankAdapters(all, 'RADEON')).toEqual([radeon]);
    expect(rankAdapters(all, 'GeForce')).toEqual([]);
    expect(rankAdapters(all, '')).toHaveLength(4);
  });

  test('variables that a person has set win over those of set-up', () => {
    vi.stubEnv('VK_ADD_DRIVER_FILES', 'mine');
    vi.stubEnv('XDG_RUNTIME_DIR', '');
    useAdapterEnvironment({ library: null, variables: { VK_ADD_DRIVER_FILES: 'found', XDG_RUNTIME_DIR: '/private' } });
    expect(process.env.VK_ADD_DRIVER_FILES).toBe('mine');
    expect(process.env.XDG_RUNTIME_DIR).toBe('/private');
  });
});

describe('dependencies', () => {
  const manifest = { dependencies: { a: '1.0.0' }, devDependencies: { b: '2.0.0' } };
  const lock = {
    packages: {
      '': manifest,
      'node_modules/a': { version: '1.0.0' },
      'node_modules/b': { version: '2.0.0', dev: true },
      'node_modules/b-win32': { version: '2.0.0', optional: true },
    },
  };
  const hidden = { packages: { 'node_modules/a': { version: '1.0.0' }, 'node_modules/b': { version: '2.0.0' } } };

  test('are there when every package that this machine needs is', () => {
    expect(isInstalled(manifest, lock, hidden)).toBe(true);
  });

  test('are not there when one is old or absent, or the lock file is not of this manifest', () => {
    expect(isInstalled(manifest, lock, null)).toBe(false);
    expect(isInstalled(manifest, null, hidden)).toBe(false);
    expect(
      isInstalled(manifest, lock, { packages: { ...hidden.packages, 'node_modules/a': { version: '0.9.0' } } }),
    ).toBe(false);
    expect(isInstalled(manifest, lock, { packages: { 'node_modules/a': { version: '1.0.0' } } })).toBe(false);
    expect(isInstalled({ ...manifest, dependencies: { a: '1.0.1' } }, lock, hidden)).toBe(false);
  });

  test('want a Node that is new enough', () => {
    for (const version of ['20.19.0', '20.20.2', '22.0.0', '24.21.0']) expect(() => checkNode(version)).not.toThrow();
    for (const version of ['18.20.0', '20.18.3'])
      expect(() => checkNode(version)).toThrow(`expected Node 20.19 or newer, got ${version}`);
  });
});

test('untar gives regular files only', () => {
  const header = (name: string, size: number, type: string) => {
    const block = Buffer.alloc(512);
    block.write(name, 0);
    block.write(size.toString(8).padStart(11, '0'), 124);
    block.write(type, 156);
    return block;
  };
  const content = Buffer.alloc(1024);
  content.write('x'.repeat(513));
  const archive = Buffer.concat([
    header('folder/', 0, '5'),
    header('folder/long', 513, '0'),
    content,
    header('empty', 0, '0'),
    header('link', 0, '2'),
    Buffer.alloc(1024),
  ]);
  expect([...untar(archive)].map(([name, bytes]) => [name, String(bytes)])).toEqual([
    ['folder/long', 'x'.repeat(513)],
    ['empty', ''],
  ]);
});

describe('counting', () => {
  const report = {
    numPassedTests: 5,
    numFailedTests: 1,
    numPendingTests: 2,
    numTodoTests: 1,
    testResults: [
      { status: 'passed', assertionResults: [] },
      { status: 'failed', assertionResults: [{}] },
      { status: 'failed', assertionResults: [] },
    ],
  };

  test('a file that fails before its first test counts', () => {
    expect(countResults(report, 1)).toEqual({ passed: 5, failed: 2, skipped: 3 });
  });

  test('a run that ends badly never counts as good', () => {
    expect(countResults(null, 1)).toEqual({ passed: 0, failed: 1, skipped: 0 });
    expect(countResults({ numPassedTests: 3, testResults: [] }, 1)).toEqual({ passed: 3, failed: 1, skipped: 0 });
    expect(countResults({ numPassedTests: 3, testResults: [] }, 0)).toEqual({ passed: 3, failed: 0, skipped: 0 });
  });

  test('projects asked for in both spellings', () => {
    expect(askedProjects(['a.test.ts', '--project', 'gpu', '--project=unit', '--bail=1'])).toEqual(['gpu', 'unit']);
  });
});
