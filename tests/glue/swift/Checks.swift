// The command line of the tests. Prints what it found; test_glue_swift.py judges.
import Foundation

@main
enum Checks {
    static func main() async throws {
        let arguments = CommandLine.arguments
        switch arguments[1] {
        case "corpus": try corpus(URL(fileURLWithPath: arguments[2]))
        case "bundle": await bundle(URL(fileURLWithPath: arguments[2]), Array(arguments.dropFirst(3)))
        case "frame": frame(arguments[2].split(separator: ",").map { Int($0)! })
        case "updates": await updates()
        case "npy": try npy(arguments[2])
        case "times": try times()
        default: fatalError(arguments[1])
        }
    }

    /// Prepares each frame of a corpus and prints the number of those with another pixel, and the first of them.
    static func corpus(_ folder: URL) throws {
        let index = try String(contentsOf: folder.appendingPathComponent("index.tsv"), encoding: .utf8)
        var (count, wrong) = (0, [String]())
        for line in index.split(separator: "\n").dropFirst() {
            let cells = line.split(separator: "\t").map(String.init)
            let bytes = [UInt8](try Data(contentsOf: folder.appendingPathComponent(cells[9])))
            let planes = cells[7].split(separator: ";").map { plane in
                let numbers = plane.split(separator: ":").map { Int($0)! }
                return Frame.Plane(bytes: bytes, offset: numbers[0], rowStride: numbers[1], pixelStride: numbers[2])
            }
            let frame = Frame(
                format: Frame.Format(rawValue: cells[1])!, width: Int(cells[2])!, height: Int(cells[3])!,
                planes: planes,
                orientation: Int(cells[4])!, matrix: Frame.Matrix(rawValue: cells[5]) ?? .bt601,
                range: Frame.Range(rawValue: cells[6]) ?? .full)
            let preprocessing = Preprocessing(
                size: Int(cells[8])!, side: Int(cells[11])!, stretch: cells[12] == "1",
                filter: Preprocessing.Filter(rawValue: cells[13])!, roundsDown: cells[14] == "down")
            let found = try preprocessing.pixels(of: frame)
            if found != [UInt8](try Data(contentsOf: folder.appendingPathComponent(cells[10]))) {
                wrong.append(cells[0])
            }
            count += 1
        }
        print("\(count) frames, \(wrong.count) wrong: \(wrong.prefix(10).joined(separator: " "))")
    }

    /// Loads a bundle and does what each word says; prints results, and the kind and text of an error.
    static func bundle(_ folder: URL, _ words: [String]) async {
        do {
            var options = LoadOptions()
            for word in words {
                if word.hasPrefix("artifact=") { options.artifact = String(word.dropFirst(9)) }
                if word.hasPrefix("delegate=") { options.delegate = String(word.dropFirst(9)) }
                if word.hasPrefix("key=") { options.publicKey = Data(base64Encoded: String(word.dropFirst(4))) }
            }
            let model = try await ImageModel.load(from: folder, options: options)
            let info = model.info
            print("loaded \(info.artifact) \(info.runtime) \(info.version ?? "-") \(info.delegate)")
            for word in words {
                try await act(model, word)
            }
        } catch let error as ModelError {
            print(
                "\(String(describing: Mirror(reflecting: error).children.first!.label!)): \(error.localizedDescription)"
            )
        } catch {
            print("\(type(of: error))")
        }
    }

    static func act(_ model: ImageModel, _ word: String) async throws {
        let grey = Frame(
            format: .rgb8, width: 2, height: 1,
            planes: [.init(bytes: [255, 51, 102, 255, 51, 102], rowStride: 6, pixelStride: 3)])
        switch word {
        case "predict":
            let prediction = try await model.predict(grey)
            let top = prediction.top(2).map { "\($0.label.name) \($0.probability)" }
            print(prediction.label == .cat, prediction.probability, prediction.probabilities, top)
        case "selfTest": print(try await model.selfTest().describe())
        case "warmUp": try await model.warmUp(times: 2)
        case "close": await model.close()
        case "cancelled":
            let task = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                return try await model.predict(grey)
            }
            _ = try await task.value
        case "wrongType":
            _ = try await model.model.run(["image": Tensor([Int32](repeating: 0, count: 12), shape: [1, 3, 2, 2])])
        case "wrongShape":
            _ = try await model.model.run(["image": Tensor([Float](repeating: 0, count: 3), shape: [1, 3, 1, 1])])
        case "wrongName": _ = try await model.model.run(["picture": Tensor([Float(0)], shape: [1])])
        case "fails":
            let spec = model.model.artifact.signature.inputs[0]
            let shape = spec.shape.map { $0.fixed! }
            let values = [Float](repeating: 0.25, count: shape.reduce(1, *))
            _ = try await model.model.run(["image": Tensor(values, shape: shape)])
        default: break
        }
    }

    /// Checks one frame with the numbers format, width, height, bytes, offset, row stride, pixel stride, orientation.
    static func frame(_ n: [Int]) {
        let bytes = [UInt8](repeating: 7, count: n[3])
        let format = Frame.Format.allCases[n[0]]
        let plane = Frame.Plane(bytes: bytes, offset: n[4], rowStride: n[5], pixelStride: n[6])
        let frame = Frame(
            format: format, width: n[1], height: n[2], planes: [Frame.Plane](repeating: plane, count: n[8]),
            orientation: n[7])
        do {
            print("ok", try Preprocessing(size: 4).pixels(of: frame).count)
        } catch let error as ModelError {
            print(
                "\(String(describing: Mirror(reflecting: error).children.first!.label!)): \(error.localizedDescription)"
            )
        } catch {
            print("\(type(of: error))")
        }
    }

    /// Prints what is in a .npy file, with each number as Double.
    static func npy(_ path: String) throws {
        do {
            let tensor = try Tensor(npy: Data(contentsOf: URL(fileURLWithPath: path)), name: "a.npy")
            print(tensor.dtype.rawValue, tensor.shape, tensor.doubles().map { "\($0)" }.joined(separator: " "))
        } catch let error as ModelError {
            print("error: \(error.localizedDescription)")
        }
    }

    /// Prints how many ms it takes to prepare a camera's frame.
    static func times() throws {
        let bytes = [UInt8](repeating: 90, count: 1920 * 1080 * 4)
        let frame = Frame(
            format: .bgra8, width: 1920, height: 1080, planes: [.init(bytes: bytes, rowStride: 7680, pixelStride: 4)],
            orientation: 6)
        let start = Date()
        for _ in 0..<10 { _ = try Preprocessing(size: 224).pixels(of: frame) }
        print(Date().timeIntervalSince(start) * 100)
        let yuv = Frame(
            format: .yuv420, width: 1920, height: 1080,
            planes: [
                .init(bytes: bytes, rowStride: 1920, pixelStride: 1),
                .init(bytes: bytes, rowStride: 1920, pixelStride: 2),
                .init(bytes: bytes, offset: 1, rowStride: 1920, pixelStride: 2),
            ], orientation: 6)
        let second = Date()
        for _ in 0..<10 { _ = try Preprocessing(size: 224).pixels(of: yuv) }
        print(Date().timeIntervalSince(second) * 100)
    }
}
