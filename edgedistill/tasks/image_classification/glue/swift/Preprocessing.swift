import Foundation

/// Makes of a frame what the model takes: upright, resized until the shorter side fits, and cropped in the centre.
///
/// The pixels are those of training to the last bit (Pillow's antialiased triangle filter on 8 bits): change nothing.
public struct Preprocessing: Sendable {
    /// Height and width of the crop, in pixels.
    public let size: Int

    public init(size: Int) {
        self.size = size
    }

    /// The pixels of the crop: RGB, `[size, size, 3]`, row-major.
    ///
    /// - Throws: `ModelError.input` for a frame that can't be right, and `CancellationError` for a cancelled task.
    public func pixels(of frame: Frame) throws -> [UInt8] {
        try frame.check()
        let reader = PixelReader(frame)
        // Integer division: 61 x 43 with the size 32 becomes 45 x 32.
        let short = min(reader.width, reader.height)
        let width = size * reader.width / short
        let height = size * reader.height / short
        let horizontal = Taps(from: reader.width, to: width, keeping: size)
        let vertical = Taps(from: reader.height, to: height, keeping: size)

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

    /// The input tensor of a frame, as `spec` says: float32 `[1, 3, size, size]` in 0...1, or uint8 `[1, size, size,
    /// 3]`.
    public func tensor(of frame: Frame, for spec: Manifest.TensorSpec) throws -> Tensor {
        let pixels = try pixels(of: frame)
        guard spec.dtype == .float32 else {
            return try Tensor(pixels, shape: [1, size, size, 3])
        }
        let area = size * size
        var planar = [Float](repeating: 0, count: 3 * area)
        for index in 0..<area {
            for channel in 0..<3 {
                planar[channel * area + index] = Float(pixels[3 * index + channel]) / 255
            }
        }
        return try Tensor(planar, shape: [1, 3, size, size])
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
    ///   - kept: How many places in the middle of the resized row are kept.
    init(from input: Int, to output: Int, keeping kept: Int) {
        // Half of an odd number is rounded to the even neighbour.
        let half = (output - kept) / 2
        let first = (output - kept) % 2 == 1 && half % 2 == 1 ? half + 1 : half
        let scale = Double(input) / Double(output)
        let support = max(scale, 1)
        let inverse = 1 / support
        var starts: [Int] = []
        var weights: [[Int]] = []
        for place in first..<first + kept {
            guard input != output else {
                starts.append(place)
                weights.append([1 << 22])
                continue
            }
            let center = (Double(place) + 0.5) * scale
            let low = max(0, Int(center - support + 0.5))
            let high = min(input, Int(center + support + 0.5))
            var triangle = (low..<high).map { max(0, 1 - abs((Double($0) - center + 0.5) * inverse)) }
            let sum = triangle.reduce(0, +)
            if sum != 0 {
                triangle = triangle.map { $0 / sum }
            }
            starts.append(low)
            weights.append(triangle.map { Int($0 * 4_194_304 + 0.5) })
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
        to source: [UInt8], from offset: Int, step stride: Int, into target: inout [UInt8], at start: Int, step: Int
    ) {
        var to = start
        for (first, row) in zip(starts, weights) {
            var (red, green, blue) = (1 << 21, 1 << 21, 1 << 21)
            var from = offset + first * stride
            for weight in row {
                red += weight * Int(source[from])
                green += weight * Int(source[from + 1])
                blue += weight * Int(source[from + 2])
                from += stride
            }
            target[to] = clamped(red >> 22)
            target[to + 1] = clamped(green >> 22)
            target[to + 2] = clamped(blue >> 22)
            to += step
        }
    }
}
