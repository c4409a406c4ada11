/** A worktree type as the gateway knows it. */
export interface TypePrefixes {
  name: string;
  branchPrefix: string;
  worktreePrefix: string;
}

/**
 * What a worktree is for: the main one is `trunk`; then the branch's prefix decides, then the directory's, the longest
 * first; else it is a feature.
 */
export function inferType(
  worktree: { main: boolean; branch: string; directory: string },
  types: readonly TypePrefixes[],
): string {
  if (worktree.main) return 'trunk';
  return (
    longestMatch(worktree.branch, types, (type) => type.branchPrefix) ??
    longestMatch(worktree.directory, types, (type) => type.worktreePrefix) ??
    'feat'
  );
}

function longestMatch(
  text: string,
  types: readonly TypePrefixes[],
  prefixOf: (type: TypePrefixes) => string,
): string | null {
  const matching = types
    .filter((type) => prefixOf(type) !== '' && text.startsWith(prefixOf(type)))
    .sort((a, b) => prefixOf(b).length - prefixOf(a).length);
  return matching[0]?.name ?? null;
}
