import type { Viewer } from '../auth/context.ts';
import { RequestError } from '../kernel/errors.ts';

/**
 * Connections that outlive a request: sockets, and requests whose answer is a stream. What they were opened with may end
 * before they do: a token expires or is revoked, a principal loses rights. Then they end too, on every gateway.
 */
export type EndReason = 'expired' | 'revoked' | 'stalled' | 'leaving';

export interface Connection {
  /**
   * It carries a stream now. Once is enough.
   * @throws RequestError LIMIT_EXCEEDED when its principal has too many
   */
  hold(): void;
  end(reason: EndReason): void;
  /** It is over, however it ended. */
  release(): void;
}

export interface Connections {
  open(viewer: Viewer, end: (reason: EndReason) => void): Connection;
  endToken(tokenId: string): void;
  endPrincipal(principalId: string): void;
  /** Ends all of them: the gateway goes away. */
  endAll(): void;
}

interface Held {
  viewer: Viewer;
  end: (reason: EndReason) => void;
}

const mostPerPrincipal = 1_000;
/** Timers hold at most 2^31 - 1 ms, some 24 days: longer ones are looked at again. */
const longestTimerMs = 2 ** 31 - 1;

export function createConnections(): Connections {
  const all = new Set<Held>();
  const perPrincipal = new Map<string, number>();

  function count({ principalId }: Viewer, change: 1 | -1): void {
    const now = (perPrincipal.get(principalId) ?? 0) + change;
    if (now === 0) perPrincipal.delete(principalId);
    else perPrincipal.set(principalId, now);
  }

  function endWhere(concerns: (viewer: Viewer) => boolean, reason: EndReason): void {
    for (const held of [...all]) if (concerns(held.viewer)) held.end(reason);
  }

  return {
    open(viewer, end) {
      const held = { viewer, end };
      let expiry: NodeJS.Timeout | null = null;

      function endWhenExpired(): void {
        if (viewer.expiresAtMs === null) return;
        const leftMs = viewer.expiresAtMs - Date.now();
        if (leftMs <= 0) {
          end('expired');
          return;
        }
        expiry = setTimeout(endWhenExpired, Math.min(leftMs, longestTimerMs));
        expiry.unref();
      }

      return {
        hold() {
          if (all.has(held)) return;
          if ((perPrincipal.get(viewer.principalId) ?? 0) >= mostPerPrincipal) {
            throw new RequestError(
              'LIMIT_EXCEEDED',
              `A principal has at most ${mostPerPrincipal} sockets and streams: close some, or put more subscriptions on one socket.`,
            );
          }
          all.add(held);
          count(viewer, 1);
          endWhenExpired();
        },
        end,
        release() {
          if (expiry !== null) clearTimeout(expiry);
          if (all.delete(held)) count(viewer, -1);
        },
      };
    },
    endToken: (tokenId) => endWhere((viewer) => viewer.tokenId === tokenId, 'revoked'),
    endPrincipal: (principalId) => endWhere((viewer) => viewer.principalId === principalId, 'revoked'),
    endAll: () => endWhere(() => true, 'leaving'),
  };
}
