// An app with an updater, which does what each line of the input asks for; test_updates_languages.py judges.
import Foundation

/// A request of the tests.
private struct Request: Decodable, Sendable {
    let step: String
    let folder: String
    let url: String
    let installation: String?
    let number: Int?
    let version: String?
    let key: String?
    let patched: String?
}

/// Answers each line of the input with one.
func updates() async {
    while let line = readLine() {
        var found: [String: Any]
        do {
            let request = try JSONDecoder().decode(Request.self, from: Data(line.utf8))
            found = ["answer": try await answer(request)]
        } catch let error as ModelError {
            // Every error of an updater is of this kind.
            if case .bundle = error { found = ["error": "UpdateError"] } else { found = ["error": "other"] }
            found["message"] = error.message
        } catch {
            found = ["error": "other", "message": "\(error)"]
        }
        let data = try? JSONSerialization.data(withJSONObject: found)
        FileHandle.standardOutput.write((data ?? Data("{}".utf8)) + Data("\n".utf8))
    }
}

private func answer(_ request: Request) async throws -> Any {
    let updater = updater(of: request)
    switch request.step {
    case "share": return Updater.share(of: request.installation!, release: request.number!)
    case "current": return await updater.current?.lastPathComponent ?? NSNull()
    case "check":
        guard let update = try await updater.check() else { return NSNull() }
        return ["number": update.number, "bytes": update.bytes, "goes_back": update.goesBack] as [String: Any]
    case "install", "refuse":
        let last = Last()
        let place = try await updater.install(updater.check()!) { last.values = [$0, $1] }
        return ["installed": place.lastPathComponent, "done": last.values[0], "total": last.values[1]] as [String: Any]
    case "cancelled":
        let update = try await updater.check()!
        let task = Task { try await updater.install(update) }
        task.cancel()
        var end = "result"
        do { _ = try await task.value } catch is CancellationError { end = "cancelled" }
        return try await "\(end), then \(updater.install(update).lastPathComponent)"
    default: fatalError(request.step)
    }
}

private final class Last: @unchecked Sendable {
    var values = [0, 0]
}

private func updater(of request: Request) -> Updater {
    let digits = Array((request.key ?? "").utf8)
    let key = stride(from: 0, to: digits.count, by: 2).map {
        UInt8(String(decoding: digits[$0..<$0 + 2], as: UTF8.self), radix: 16)!
    }
    var patcher: Updater.Patcher?
    if let patched = request.patched {
        // Gives the bytes of this file as those of any release.
        patcher = { old, delta, new, bytes in
            guard try !Data(contentsOf: old).isEmpty, try !Data(contentsOf: delta).isEmpty, bytes > 0 else { return }
            try Data(contentsOf: URL(fileURLWithPath: patched)).write(to: new)
        }
    }
    let refuses = request.step == "refuse"
    return Updater(
        folder: URL(fileURLWithPath: request.folder), url: URL(string: request.url)!,
        installation: request.installation ?? "phone", appVersion: request.version ?? "0",
        publicKey: request.key == nil ? nil : Data(key), patcher: patcher
    ) { folder in
        guard !refuses else { return false }
        return try await Updater.hasItsHashes(folder)
    }
}
