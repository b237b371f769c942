import Foundation

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

/// One request whose bytes are handled as they arrive.
final class UpdatesDownload: NSObject, URLSessionDataDelegate, @unchecked Sendable {
    // The session calls one method after the other, and `run` only before the first and after the last.
    private let begin: (_ goesOn: Bool) throws -> Void
    private let take: (Data) throws -> Bool
    private var continuation: CheckedContinuation<Void, any Error>?
    private var failure: (any Error)?
    private var isEnough = false

    private init(begin: @escaping (Bool) throws -> Void, take: @escaping (Data) throws -> Bool) {
        self.begin = begin
        self.take = take
    }

    private struct Refused: LocalizedError {
        let status: Int
        var errorDescription: String? { "the server answers \(status)" }
    }

    /// Reads the file at `url` from the byte `start` on.
    ///
    /// - Parameters:
    ///   - begin: Called first: whether the answer goes on at `start`; a server that knows no ranges sends all.
    ///   - take: Called with the bytes; false ends the request.
    /// - Throws: `CancellationError` for a cancelled task, and any error of the request or of a parameter.
    static func run(
        _ url: URL, start: Int = 0, begin: @escaping (Bool) throws -> Void, take: @escaping (Data) throws -> Bool
    ) async throws {
        try Task.checkCancellation()
        var request = URLRequest(url: url, cachePolicy: .reloadIgnoringLocalCacheData, timeoutInterval: 30)
        request.setValue("identity", forHTTPHeaderField: "Accept-Encoding")
        if start > 0 { request.setValue("bytes=\(start)-", forHTTPHeaderField: "Range") }
        let download = UpdatesDownload(begin: begin, take: take)
        let session = URLSession(configuration: .ephemeral, delegate: download, delegateQueue: nil)
        defer { session.finishTasksAndInvalidate() }
        let task = session.dataTask(with: request)
        do {
            try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { continuation in
                    download.continuation = continuation
                    task.resume()
                }
            } onCancel: {
                task.cancel()
            }
        } catch {
            try Task.checkCancellation()
            throw error
        }
    }

    func urlSession(
        _ session: URLSession, dataTask: URLSessionDataTask, didReceive response: URLResponse,
        completionHandler: @escaping (URLSession.ResponseDisposition) -> Void
    ) {
        let status = (response as? HTTPURLResponse)?.statusCode ?? 0
        do {
            guard (200..<300).contains(status) else { throw Refused(status: status) }
            try begin(status == 206)
            completionHandler(.allow)
        } catch {
            failure = error
            completionHandler(.cancel)
        }
    }

    func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
        guard failure == nil, !isEnough else { return }
        do {
            isEnough = try !take(data)
        } catch {
            failure = error
        }
        if failure != nil || isEnough { dataTask.cancel() }
    }

    func urlSession(_ session: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?) {
        if let error = failure ?? (isEnough ? nil : error) {
            continuation?.resume(throwing: error)
        } else {
            continuation?.resume()
        }
        continuation = nil
    }
}
