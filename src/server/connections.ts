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
   * @throws RequestError LIMIT_EXCEEDED when its principal has too many, UNAUTHENTICATED when the right to it has
   * ended since, RESYNC_REQUIRED when the gateway goes away
   */
  hold(): void;
  /** Called once it is over, at once if it is already. @returns a function that takes it back */
  onRelease(act: () => void): () => void;
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

interface Known {
  viewer: Viewer;
  end: (reason: EndReason) => void;
}

const mostPerPrincipal = 1_000;
/** Timers hold at most 2^31 - 1 ms, some 24 days: longer ones are looked at again. */
const longestTimerMs = 2 ** 31 - 1;

export function createConnections(): Connections {
  const all = new Set<Known>();
  const heldBy = new Map<string, number>();

  function endWhere(concerns: (viewer: Viewer) => boolean, reason: EndReason): void {
    for (const known of [...all]) if (concerns(known.viewer)) known.end(reason);
  }

  return {
    open(viewer, end) {
      const { principalId } = viewer;
      const onRelease = new Set<() => void>();
      let expiry: NodeJS.Timeout | null = null;
      let held = false;
      let ended: EndReason | null = null;
      let released = false;
      // Known from the start: its right may end while a slow client still sends what it wants.
      const known: Known = {
        viewer,
        end: (reason) => {
          ended = reason;
          if (held) end(reason);
        },
      };
      all.add(known);

      function endWhenExpired(): void {
        if (viewer.expiresAtMs === null) return;
        const leftMs = viewer.expiresAtMs - Date.now();
        if (leftMs <= 0) {
          known.end('expired');
          return;
        }
        expiry = setTimeout(endWhenExpired, Math.min(leftMs, longestTimerMs));
        expiry.unref();
      }

      return {
        hold() {
          if (ended === 'leaving')
            throw new RequestError('RESYNC_REQUIRED', 'The gateway is going away: subscribe again.');
          if (ended !== null) throw new RequestError('UNAUTHENTICATED', 'The token has ended: subscribe with another.');
          if (held || released) return;
          const count = heldBy.get(principalId) ?? 0;
          if (count >= mostPerPrincipal) {
            throw new RequestError(
              'LIMIT_EXCEEDED',
              `A principal has at most ${mostPerPrincipal} sockets and streams: close some, or put more subscriptions on one socket.`,
            );
          }
          held = true;
          heldBy.set(principalId, count + 1);
          endWhenExpired();
        },
        onRelease(act) {
          if (released) act();
          else onRelease.add(act);
          return () => void onRelease.delete(act);
        },
        end: known.end,
        release() {
          if (released) return;
          released = true;
          all.delete(known);
          if (expiry !== null) clearTimeout(expiry);
          if (held) {
            const count = (heldBy.get(principalId) ?? 1) - 1;
            if (count === 0) heldBy.delete(principalId);
            else heldBy.set(principalId, count);
          }
          for (const act of [...onRelease]) act();
        },
      };
    },
    endToken: (tokenId) => endWhere((viewer) => viewer.tokenId === tokenId, 'revoked'),
    endPrincipal: (principalId) => endWhere((viewer) => viewer.principalId === principalId, 'revoked'),
    endAll: () => endWhere(() => true, 'leaving'),
  };
}
