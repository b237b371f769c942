import Foundation

/// Makes of a frame what the model takes: upright, resized until the shorter side fits, and cropped in the centre.
///
/// The pixels are those of training to the last bit (Pillow's antialiased filters on 8 bits): change nothing.
public struct Preprocessing: Sendable {
    /// Height and width of the crop, in pixels.
    public let size: Int

    /// Named as in manifest.json: what Pillow calls bilinear and bicubic.
    public enum Filter: String, CaseIterable, Sendable {
        case triangle, cubic
    }

    private let side: Int
    private let stretch: Bool
    private let filter: Filter
    private let roundsDown: Bool

    /// - Parameters:
    ///   - size: Height and width of the crop, in pixels.
    ///   - side: What the shorter side is resized to, `size` by default.
    ///   - stretch: Whether both sides are resized to it.
    ///   - filter: What weights pixels.
    ///   - roundsDown: Whether half of an odd margin is rounded down, and not to the even number.
    public init(
        size: Int, side: Int? = nil, stretch: Bool = false, filter: Filter = .triangle, roundsDown: Bool = false
    ) {
        self.size = size
        self.side = side ?? size
        self.stretch = stretch
        self.filter = filter
        self.roundsDown = roundsDown
    }

    /// The pixels of the crop: RGB, `[size, size, 3]`, row-major.
    ///
    /// - Throws: `ModelError.input` for a frame that can't be right, and `CancellationError` for a cancelled task.
    public func pixels(of frame: Frame) throws -> [UInt8] {
        try frame.check()
        let reader = PixelReader(frame)
        // Integer division: 61 x 43 with the size 32 becomes 45 x 32.
        let short = min(reader.width, reader.height)
        func taps(_ input: Int) -> Taps {
            let output = stretch ? side : side * input / short
            let half = (output - size) / 2
            let even = (output - size) % 2 == 1 && half % 2 == 1 ? half + 1 : half
            return Taps(from: input, to: output, first: roundsDown ? half : even, count: size, filter: filter)
        }
        let (horizontal, vertical) = (taps(reader.width), taps(reader.height))

        // Rows first, of all rows that the columns need; rounded to 8 bits in between.
        let rows = vertical.needed
        let columns = horizontal.needed
        var line = [UInt8](repeating: 0, count: 3 * columns.count)
        var between = [UInt8](repeating: 0, count: 3 * size * rows.count)
        for row in rows {
            try Task.checkCancellation()
            reader.read(row: row, columns: columns, into: &line)
            horizontal.apply(
                to: line, from: -3 * columns.lowerBound, step: 3, into: &between,
                at: 3 * size * (row - rows.lowerBound), step: 3)
        }
        var result = [UInt8](repeating: 0, count: 3 * size * size)
        for column in 0..<size {
            vertical.apply(
                to: between, from: 3 * (column - size * rows.lowerBound), step: 3 * size, into: &result, at: 3 * column,
                step: 3 * size)
        }
        return result
    }

    /// The input tensor of the pixels of a frame, as `spec` says: float32 `[1, 3, size, size]` in 0...1, or uint8
    /// `[1, size, size, 3]`.
    public func tensor(of pixels: [UInt8], for spec: Manifest.TensorSpec) throws -> Tensor {
        guard spec.dtype == .float32 else {
            return try Tensor(pixels, shape: [1, size, size, 3])
        }
        let area = size * size
        var planar = [Float](repeating: 0, count: 3 * area)
        for index in 0..<area {
            for channel in 0..<3 {
                planar[channel * area + index] = Float(pixels[3 * index + channel].number) / 255
            }
        }
        return try Tensor(planar, shape: [1, 3, size, size])
    }
}

extension Preprocessing.Filter {
    /// The distance from which on weights are 0.
    var reach: Double { self == .cubic ? 2 : 1 }

    /// The weight at a distance of 0 or more; the cubic is Keys' kernel with a = -0.5.
    func weight(at x: Double) -> Double {
        switch self {
        case .triangle: return max(0, 1 - x)
        case .cubic where x < 1: return (1.5 * x - 2.5) * x * x + 1
        case .cubic where x < 2: return (((x - 5) * x + 8) * x - 4) * -0.5
        case .cubic: return 0
        }
    }
}

/// What each place of a resized row is made of: places of the row before, with integer weights that add up to about
/// 2^22.
struct Taps {
    private let starts: [Int]
    private let weights: [[Int]]

    /// - Parameters:
    ///   - input: Length of the row before.
    ///   - output: Length of the resized row, `input` itself for none.
    ///   - first: The first place of the resized row that is kept.
    ///   - count: How many are kept.
    ///   - filter: What weights pixels.
    init(from input: Int, to output: Int, first: Int, count: Int, filter: Preprocessing.Filter) {
        let scale = Double(input) / Double(output)
        let widened = max(scale, 1)
        let support = filter.reach * widened
        let inverse = 1 / widened
        var starts: [Int] = []
        var weights: [[Int]] = []
        for place in first..<first + count {
            guard input != output else {
                starts.append(place)
                weights.append([1 << 22])
                continue
            }
            let center = (Double(place) + 0.5) * scale
            let low = max(0, Int(center - support + 0.5))
            let high = min(input, Int(center + support + 0.5))
            let exact = (low..<high).map { filter.weight(at: abs((Double($0) - center + 0.5) * inverse)) }
            let sum = exact.reduce(0, +)
            starts.append(low)
            weights.append(
                exact.map {
                    let whole = sum == 0 ? 0 : $0 / sum * 4_194_304
                    return Int(whole < 0 ? whole - 0.5 : whole + 0.5)
                })
        }
        self.starts = starts
        self.weights = weights
    }

    /// The places of the row before that are needed.
    var needed: Range<Int> {
        let ends = zip(starts, weights).map { $0 + $1.count }
        return (starts.min() ?? 0)..<(ends.max() ?? 0)
    }

    /// Resizes one row or column of pixels of 3 bytes.
    ///
    /// - Parameters:
    ///   - source: Holds the place `i` of the row before at `offset + i * stride`.
    ///   - target: Gets the place `i` that is kept at `start + i * step`.
    func apply(
        to source: UnsafePointer<UInt8>, from offset: Int, step stride: Int,
        into target: UnsafeMutablePointer<UInt8>, at start: Int, step: Int
    ) {
        var to = start
        for (first, row) in zip(starts, weights) {
            var (red, green, blue) = (1 << 21, 1 << 21, 1 << 21)
            var from = offset + first * stride
            for index in 0..<row.count {
                let weight = row[index]
                red += weight * source[from].number
                green += weight * source[from + 1].number
                blue += weight * source[from + 2].number
                from += stride
            }
            target[to] = clamped(red >> 22)
            target[to + 1] = clamped(green >> 22)
            target[to + 2] = clamped(blue >> 22)
            to += step
        }
    }
}
